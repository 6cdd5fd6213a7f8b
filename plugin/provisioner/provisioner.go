// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package provisioner is provisioner "vpnami": it turns a Debian-family guest,
// reached over any of Packer's communicators, into the image of vpnami. It runs in
// the plugin; what runs on the guest are the scripts of its folder scripts, and as
// the last act the program that it has put there.
package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// Build tells which plugin this is; the image's manifest repeats it.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// restDeadline is for all that neither waits nor installs. It takes ten seconds;
// the upload of 6 MB over a line of 1 Mbit/s takes one minute more.
const restDeadline = 10 * time.Minute

// Provisioner is provisioner "vpnami".
type Provisioner struct {
	Build  Build
	config Config
	// programs has those of the image; nil: the embedded ones.
	programs fs.FS
}

var _ packersdk.Provisioner = (*Provisioner)(nil)

// ConfigSpec returns the options in HCL2's terms.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec {
	return p.config.FlatMapstructure().HCL2Spec()
}

// Prepare reads and checks the options.
func (p *Provisioner) Prepare(raws ...any) error { return p.config.Prepare(raws...) }

// Provision makes the image of the guest. The order matters: what waits comes
// before what installs, what cleans after all that leaves traces, and the check
// sees what will be launched.
func (p *Provisioner) Provision(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, generated map[string]any) error {
	// Packer's own option "timeout" of the block ends ctx. This deadline is for a
	// guest that hangs in a step that has none.
	ctx, cancel := context.WithTimeout(ctx, p.config.waitTimeout+p.config.installTimeout+restDeadline)
	defer cancel()

	tree, err := rootfs.Tree()
	if err != nil {
		return fmt.Errorf("reading the files of the image: %w", err)
	}
	g := &guest{comm: comm, ui: ui}
	facts, err := step(ui, "Looking at the guest", func() (facts, error) { return identify(ctx, g) })
	if err != nil {
		return err
	}
	if p.programs == nil {
		p.programs = programs
	}
	tree, err = withProgram(tree, p.programs, facts.Architecture)
	if err != nil {
		return err
	}
	if err := do(ui, "Bringing our scripts", func() error { return g.open(ctx) }); err != nil {
		return err
	}
	defer g.close(ctx)

	if err := do(ui, "Waiting for cloud-init and package locks", func() error { return wait(ctx, g, p.config.waitTimeout) }); err != nil {
		return err
	}
	openvpn, err := step(ui, "Installing packages", func() (string, error) {
		return install(ctx, g, facts.release, p.config.Packages, p.config.installTimeout)
	})
	if err != nil {
		return err
	}
	data, err := step(ui, "Deciding who carries the data", func() ([]rootfs.Entry, error) { return offload(ctx, g, openvpn) })
	if err != nil {
		return err
	}
	tree = sorted(append(tree, data...))
	if err := do(ui, "Laying down the files of the image", func() error { return layDown(ctx, g, tree) }); err != nil {
		return err
	}
	if err := do(ui, "Hardening accounts", func() error { return harden(ctx, g) }); err != nil {
		return err
	}
	told, err := step(ui, "Writing the manifest and the SBOM", func() (provenance, error) {
		m, err := manifestOf(p.Build, facts, tree, generated)
		if err != nil {
			return provenance{}, err
		}
		return leaveProvenance(ctx, g, m, tree)
	})
	if err != nil {
		return err
	}
	if err := do(ui, "Cleaning", func() error { return clean(ctx, g) }); err != nil {
		return err
	}
	if err := do(ui, "Checking the image", func() error { return check(ctx, g) }); err != nil {
		return err
	}
	return errors.Join(
		save("manifest_path", p.config.ManifestPath, told.manifest),
		save("sbom_path", p.config.SBOMPath, told.sbom),
	)
}

// do runs one step: the only place that says what is done and how long it took.
func do(ui packersdk.Ui, what string, f func() error) error {
	_, err := step(ui, what, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

func step[T any](ui packersdk.Ui, what string, f func() (T, error)) (T, error) {
	ui.Say("vpnami: " + what + "...")
	began := time.Now()
	result, err := f()
	if err == nil {
		ui.Say(fmt.Sprintf("vpnami: %s: done in %.1f s", what, time.Since(began).Seconds()))
	}
	return result, err
}
