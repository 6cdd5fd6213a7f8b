// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// baseFiles are what a cloud image of the distribution has beside its packages,
// each at its path in the image.
//
//go:embed all:base
var baseFiles embed.FS

// policy keeps packages from starting anything during the bake (policy-rc.d,
// Debian policy 9.3.3). 101: "action forbidden".
const policy = "#!/bin/sh\nexit 101\n"

// The files of the bake itself; they leave the image before it is written.
const (
	policyFile   = "usr/sbin/policy-rc.d"
	aptSettingsF = "etc/apt/apt.conf.d/99mmdebstrap"
	dpkgOptionsF = "etc/dpkg/dpkg.cfg.d/99mmdebstrap"
	// initramfs-tools reads no file there whose name begins otherwise.
	initrdSettingsF = "etc/initramfs-tools/conf.d/vpnami-bake"
)

// stepLayBase makes a machine of the packages.
type stepLayBase struct{ *bake }

var _ multistep.Step = (*stepLayBase)(nil)

func (s *stepLayBase) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, "Configuring the base system...", func(ctx context.Context) error {
		s.disk = newDisk(s.config)
		var err error
		if s.laid, err = layBase(s.root(), s.disk); err != nil {
			return err
		}
		if err := s.sandbox.prepare(ctx, s.root()); err != nil {
			return err
		}
		units := []string{"systemd-networkd.service", "systemd-resolved.service", "ssh.service"}
		return run(s.sandbox.chroot(ctx, s.root(), "systemctl", append([]string{"--quiet", "enable"}, units...)...), "enabling the image's network and sshd")
	})
}

func (s *stepLayBase) Cleanup(multistep.StateBag) {}

// laid is a file of ours in the image, as the manifest has it.
type laid struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"`
	Owner  string `json:"owner"`
	Group  string `json:"group"`
	SHA256 string `json:"sha256"`
}

// layBase writes the base files below root, through an [os.Root]: a link in a
// package leads out of it nowhere. It returns what stays.
func layBase(root string, d disk) ([]laid, error) {
	in, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("opening the root file system: %w", err)
	}
	defer in.Close()
	var all []laid
	write := func(name string, data []byte, mode fs.FileMode) error {
		if err := in.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("making the folder of /%s in the image: %w", name, err)
		}
		// What was there may be a link; it is replaced, not followed.
		if err := in.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replacing /%s in the image: %w", name, err)
		}
		if err := in.WriteFile(name, data, mode); err != nil {
			return fmt.Errorf("writing /%s in the image: %w", name, err)
		}
		// The umask of whoever bakes is not the image's.
		if err := in.Chmod(name, mode); err != nil {
			return fmt.Errorf("writing /%s in the image: %w", name, err)
		}
		sum := sha256.Sum256(data)
		all = append(all, laid{"/" + filepath.ToSlash(name), fmt.Sprintf("%04o", mode), "root", "root", hex.EncodeToString(sum[:])})
		return nil
	}
	err = fs.WalkDir(baseFiles, "base", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := baseFiles.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("base", path)
		if err != nil {
			return err
		}
		return write(name, data, 0o644)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name, data string
		mode       fs.FileMode
	}{
		{"etc/fstab", d.fstab(), 0o644},
		// For kernel-install, when kernels are updated on the running machine.
		{"etc/kernel/cmdline", d.cmdline() + "\n", 0o644},
		{"etc/kernel/entry-token", d.entry + "\n", 0o644},
		{policyFile, policy, 0o755},
	} {
		if err := write(f.name, []byte(f.data), f.mode); err != nil {
			return nil, err
		}
	}
	if err := unhurryCloudInit(in, write); err != nil {
		return nil, err
	}
	if err := in.MkdirAll("boot/efi", 0o755); err != nil {
		return nil, fmt.Errorf("making /boot/efi in the image: %w", err)
	}
	// The second is what the package of systemd-resolved keeps of the first, which
	// mmdebstrap has copied from the host: its name servers are not the image's.
	for _, name := range []string{"etc/resolv.conf", "etc/.resolv.conf.systemd-resolved.bak"} {
		if err := in.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("replacing /%s in the image: %w", name, err)
		}
	}
	if err := in.Symlink("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf"); err != nil {
		return nil, fmt.Errorf("linking /etc/resolv.conf in the image: %w", err)
	}
	return slices.DeleteFunc(all, func(l laid) bool { return l.Path == "/"+policyFile }), nil
}

// sealRoot removes what only the bake needed.
func sealRoot(root string) error {
	in, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the root file system: %w", err)
	}
	defer in.Close()
	for _, name := range []string{policyFile, aptSettingsF, dpkgOptionsF, initrdSettingsF} {
		if err := in.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing /%s, which was for the bake only: %w", name, err)
		}
	}
	// What packages left there before these were mounts; at boot they are again.
	for _, dir := range []string{"run", "tmp"} {
		entries, err := fs.ReadDir(in.FS(), dir)
		if err != nil {
			return fmt.Errorf("emptying /%s of the image: %w", dir, err)
		}
		for _, e := range entries {
			if err := in.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("emptying /%s of the image: %w", dir, err)
			}
		}
	}
	return nil
}

// stepProvision hands the root file system over to Packer's provisioners.
type stepProvision struct{ *bake }

var _ multistep.Step = (*stepProvision)(nil)

func (s *stepProvision) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, "Provisioning...", func(ctx context.Context) error {
		// Packer passes an interrupt to the provisioner, not to the command that
		// the provisioner waits for. Ending the sandbox ends that.
		stop := context.AfterFunc(ctx, s.sandbox.Close)
		defer stop()
		comm := &communicator{sandbox: s.sandbox, root: s.root()}
		data := commonsteps.PopulateProvisionHookData(state)
		data["ConnType"] = "vpnami-bootstrap"
		base, err := json.Marshal(s.laid)
		if err != nil {
			return fmt.Errorf("telling the provisioner of the base files: %w", err)
		}
		data["BaseFiles"] = string(base) // the provisioner's manifest has them
		state.Put("generated_data", data)
		return s.hook.Run(ctx, packersdk.HookProvision, s.ui, comm, data)
	})
}

func (s *stepProvision) Cleanup(state multistep.StateBag) {
	// error-cleanup-provisioner, as every builder runs it.
	_, failed := state.GetOk(multistep.StateHalted)
	_, interrupted := state.GetOk(multistep.StateCancelled)
	// Without a sandbox the root is sealed: a later step failed, and there is
	// nothing any more that a provisioner could look at.
	if !failed || interrupted || s.sandbox == nil {
		return
	}
	comm := &communicator{sandbox: s.sandbox, root: s.root()}
	ctx, cancel := context.WithTimeout(context.Background(), transferDeadline)
	defer cancel()
	if err := s.hook.Run(ctx, packersdk.HookCleanupProvision, s.ui, comm, commonsteps.PopulateProvisionHookData(state)); err != nil {
		s.ui.Error(fmt.Sprintf("running the error-cleanup-provisioner: %v", err))
	}
}

// unhurryCloudInit lets the network come up beside cloud-init's first stage, not
// after it. That stage stands before the network because it may have to write
// the network's configuration; in this image systemd-networkd has its own, and
// the data source does nothing before the network is up (DataSourceVpnami.py).
// Python alone takes most of a second to load.
func unhurryCloudInit(in *os.Root, write func(name string, data []byte, mode fs.FileMode) error) error {
	const unit = "systemd/system/cloud-init-local.service"
	stock, err := in.ReadFile("usr/lib/" + unit)
	if err != nil {
		return fmt.Errorf("reading cloud-init's unit in the image: %w", err)
	}
	var own strings.Builder
	own.WriteString("# vpnami-bootstrap: the distribution's unit, without its place before the network.\n")
	for line := range strings.Lines(string(stock)) {
		// Orderings cannot be taken back by a drop-in (systemd.unit(5)).
		if !strings.Contains(line, "network-pre.target") {
			own.WriteString(line)
		}
	}
	return write("etc/"+unit, []byte(own.String()), 0o644)
}
