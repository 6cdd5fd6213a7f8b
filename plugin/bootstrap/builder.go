// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package bootstrap is source "vpnami-bootstrap": it makes a root file system from
// a distribution's packages, hands it to Packer's provisioners, and writes it as
// root.tar and as a disk image that boots under UEFI. It runs in the plugin, on
// Linux, as root, and needs no cloud account, no virtual machine, no loop device.
package bootstrap

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"golang.org/x/sys/unix"
)

// BuilderID is how post-processors know this builder's artifacts.
const BuilderID = "vpnami.bootstrap"

// Builder is source "vpnami-bootstrap".
type Builder struct{ config Config }

var _ packersdk.Builder = (*Builder)(nil)

// ConfigSpec returns the options in HCL2's terms.
func (b *Builder) ConfigSpec() hcldec.ObjectSpec { return b.config.FlatMapstructure().HCL2Spec() }

// Prepare reads and checks the options.
func (b *Builder) Prepare(raws ...any) ([]string, []string, error) {
	return nil, nil, b.config.Prepare(raws...)
}

// Run bakes. Whatever it made is gone when it returns an error.
func (b *Builder) Run(ctx context.Context, ui packersdk.Ui, hook packersdk.Hook) (packersdk.Artifact, error) {
	if err := closeInheritedOnExec(); err != nil {
		return nil, err
	}
	// The umask of whoever bakes is not the image's, nor the bake's: apt's own user
	// has to read some of what is made for it.
	unix.Umask(0o022)
	k := &bake{config: &b.config, ui: ui, hook: hook, began: time.Now()}
	// Packer's own state bag carries nothing but what its runner and its
	// provision hook want of it; the bake's state has types.
	state := new(multistep.BasicStateBag)
	state.Put("hook", hook)
	state.Put("ui", ui)

	steps := []multistep.Step{
		&stepCheckHost{k},
		&stepMakeWorkspace{bake: k},
		&stepOpenSandbox{k},
		&stepInstallPackages{k},
		&stepLayBase{k},
		&stepProvision{k},
		&stepWriteImage{k},
		&stepPublish{k},
	}
	commonsteps.NewRunner(steps, b.config.PackerConfig, ui).Run(ctx, state)

	if err, failed := state.GetOk("error"); failed {
		return nil, err.(error)
	}
	if ctx.Err() != nil {
		return nil, errors.New("baking: interrupted; everything that was made is removed")
	}
	if k.artifact == nil {
		return nil, errors.New("baking: a step stopped without a word")
	}
	return k.artifact, nil
}
