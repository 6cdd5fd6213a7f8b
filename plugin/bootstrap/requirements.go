// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// requirement is a file that the bake needs of the host, and the Debian package
// that has it.
type requirement struct{ program, pkg string }

func requirements() []requirement {
	return []requirement{
		{"mmdebstrap", "mmdebstrap"},
		{"sgdisk", "gdisk"},
		{"mkfs.vfat", "dosfstools"},
		{"mmd", "mtools"},
		{"mcopy", "mtools"},
		{"mkfs.ext4", "e2fsprogs"},
		{"dumpe2fs", "e2fsprogs"},
		{"debugfs", "e2fsprogs"},
		{"tar", "tar"},
		{"nsenter", "util-linux"},
		{"mount", "mount"},
		{"chroot", "coreutils"},
	}
}

// toolPath finds programs that are for root, also where PATH is a user's that
// sudo kept.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// host is what of this machine the bake depends on, as values so that each
// refusal is tested.
type host struct {
	goos, goarch string
	uid          int
	// has tells whether a program (a name) or a file (a path) is there.
	has func(name string) bool
	// free is the room for the image in bytes.
	free uint64
}

func thisHost(outputDirectory string) (host, error) {
	parent, err := standing(filepath.Dir(filepath.Clean(outputDirectory)))
	if err != nil {
		return host{}, err
	}
	free, err := freeRoom(parent)
	if err != nil {
		return host{}, err
	}
	return host{
		goos: runtime.GOOS, goarch: runtime.GOARCH, uid: os.Geteuid(),
		free: free,
		has: func(name string) bool {
			if filepath.IsAbs(name) {
				_, err := os.Stat(name)
				return err == nil
			}
			_, err := lookTool(name)
			return err == nil
		},
	}, nil
}

// standing returns the nearest folder above dir that is there, or dir itself:
// nothing is made before all is checked.
func standing(dir string) (string, error) {
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && st.IsDir():
			return dir, nil
		case err == nil:
			return "", fmt.Errorf("looking for the folder of output_directory: %q is a file", dir)
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", fmt.Errorf("looking for the folder of output_directory: %w", err)
		}
		dir = filepath.Dir(dir)
	}
}

// neededRoom is for the root, root.tar and disk.raw at once: 0.5 GiB each here,
// and as much again for packages that the user adds.
const neededRoom = 3 << 30

// check gathers everything that this host lacks for the bake.
func (h host) check(c *Config) error {
	if h.goos != "linux" {
		return fmt.Errorf("checking the host: it is %s; an image is baked on Linux only", h.goos)
	}
	var errs []error
	if h.uid != 0 {
		errs = append(errs, errors.New("checking the host: vpnami-bootstrap makes a root file system and must be root; run packer with sudo --preserve-env"))
	}
	if c.Architecture != h.goarch {
		errs = append(errs, fmt.Errorf("checking architecture %q: this host is %q, and the packages' scripts run during the bake; bake on a machine of that architecture", c.Architecture, h.goarch))
	}
	var missing, packages []string
	lacks := func(name, pkg string) {
		missing = append(missing, name)
		if len(packages) == 0 || packages[len(packages)-1] != pkg {
			packages = append(packages, pkg)
		}
	}
	wanted := requirements()
	if slices.Contains(c.DiskFormats, formatQcow2) {
		wanted = append(wanted, requirement{"qemu-img", "qemu-utils"})
	}
	for _, r := range wanted {
		if !h.has(r.program) {
			lacks(r.program, r.pkg)
		}
	}
	if !h.has(c.distro.keyring) {
		lacks(c.distro.keyring, c.distro.keyringPackage)
	}
	if missing != nil {
		errs = append(errs, fmt.Errorf("looking for what makes an image: %s not found; apt-get install %s", strings.Join(missing, ", "), strings.Join(packages, " ")))
	}
	if h.free < neededRoom {
		errs = append(errs, fmt.Errorf("checking output_directory %q: %d MiB are free there, a bake takes up to %d MiB; make room or choose another folder", c.OutputDirectory, h.free>>20, neededRoom>>20))
	}
	return errors.Join(errs...)
}

func lookTool(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range filepath.SplitList(toolPath) {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("looking for %q in %q: not there", name, toolPath)
}
