// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/vpnami/packer-plugin-vpnami/plugin/progress"
)

// stepInstallPackages makes the root file system by mmdebstrap.
type stepInstallPackages struct{ *bake }

var _ multistep.Step = (*stepInstallPackages)(nil)

func (s *stepInstallPackages) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	say := fmt.Sprintf("Installing %s %s for %s...", s.config.Distribution, s.config.Release, s.config.Architecture)
	return s.step(ctx, state, say, s.mmdebstrap)
}

func (s *stepInstallPackages) Cleanup(multistep.StateBag) {}

func (s *stepInstallPackages) mmdebstrap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.timeout)
	defer cancel()
	settings := filepath.Join(s.scratch(), "apt.conf")
	if err := os.WriteFile(settings, s.settings, 0o600); err != nil {
		return fmt.Errorf("writing the settings of apt: %w", err)
	}
	cmd := s.sandbox.command(ctx, "mmdebstrap", mmdebstrapArgs(s.config, settings, s.root(), s.sources)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+s.scratch(), "DEBIAN_FRONTEND=noninteractive")
	out := progress.New(s.say)
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if err == nil {
		return s.takeDown()
	}
	if ctx.Err() == nil {
		s.ui.Error("The last lines of mmdebstrap:\n" + out.Tail())
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("installing the base system: not finished after %s; is the mirror reachable? (option timeout)", s.config.timeout)
	}
	err = fmt.Errorf("installing the base system by mmdebstrap: %w: %s", err, orDefault(out.Cause(), "see its last lines above"))
	return s.advised(err, out.Tail())
}

// takeDown keeps in mind where the packages came from.
func (s *stepInstallPackages) takeDown() error {
	var err error
	if len(s.sources) == 0 {
		if s.sources, err = sourcesOf(s.root()); err != nil {
			return err
		}
	}
	if s.archives, err = archivesOf(s.root()); err != nil {
		return err
	}
	s.say("The image is of " + s.epoch().Format(time.RFC3339) + ", when the newest of its archives was signed.")
	return nil
}

// initrdSettings make the initrds of the bake reproducible: their files get one
// time (0), and the compressor one thread. The type of the root, which is no device
// yet, brings what checks it before it is mounted; initrds of kernel updates have
// that as well, because they find it out by themselves. initramfs-tools reads the
// file as a shell does; it leaves the image with the bake's other files.
//
// mmdebstrap itself gets no SOURCE_DATE_EPOCH: with it, Python compiles its
// modules so that each start reads and hashes their sources as well.
const initrdSettings = "SOURCE_DATE_EPOCH=0 FSTYPE=ext4"

// mmdebstrapArgs is the whole of what is asked of mmdebstrap.
func mmdebstrapArgs(c *Config, settings, root string, sources []string) []string {
	args := []string{
		"--mode=root", "--variant=minbase", "--format=directory", "--verbose",
		"--architectures=" + c.Architecture,
		"--components=" + strings.ReplaceAll(c.distro.components, " ", ","),
		"--include=" + strings.Join(c.distro.include(c.Architecture, c.Packages), ","),
		"--aptopt=" + settings,
		// An fsync after each file of each package: a bake that is cut off starts
		// anew anyway.
		"--dpkgopt=force-unsafe-io",
		// The provisioner installs more from the same lists, and removes them.
		"--skip=cleanup/apt/lists",
		fmt.Sprintf(`--extract-hook=mkdir -p "$1/%s" && echo '%s' >"$1/%s"`, path.Dir(initrdSettingsF), initrdSettings, initrdSettingsF),
	}
	if c.Backports {
		files := backportsFiles(c.Release)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			args = append(args, fmt.Sprintf(`--setup-hook=mkdir -p "$1/%s" && printf '%%s\n' '%s' >"$1/%s"`, path.Dir(name), strings.Join(files[name], "' '"), name))
		}
	}
	if len(sources) == 0 {
		// Of the public archives mmdebstrap knows the addresses; the host need not
		// trust them for itself.
		args = append(args, "--keyring="+c.distro.keyring)
	}
	return append(append(args, c.Release, root), sources...)
}
