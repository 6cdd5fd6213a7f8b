// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Each container gets a cgroup of its own. systemd-nspawn makes its payload's
// cgroup below the one it is started in, under a fixed name: two containers
// started in the same one would have the same, and the systemd of each would
// take the other's processes for those of its own units.

// cgroupRoots are the hierarchies that systemd uses: cgroup2 and, on a host
// that still has version 1 beside it, the one named "systemd".
func cgroupRoots() ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("looking for cgroups: %w", err)
	}
	roots := parseCgroupRoots(string(mounts))
	if len(roots) == 0 {
		return nil, errors.New("looking for cgroups: none is mounted; a container needs them")
	}
	return roots, nil
}

func parseCgroupRoots(mountinfo string) []string {
	var unified, named string
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		switch {
		case kind[0] == "cgroup2" && unified == "":
			unified = fields[4]
		case kind[0] == "cgroup" && named == "" && slices.Contains(strings.Split(kind[2], ","), "name=systemd"):
			named = fields[4]
		}
	}
	return slices.DeleteFunc([]string{unified, named}, func(s string) bool { return s == "" })
}

// makeCgroups makes a machine's cgroups anew and returns them.
func makeCgroups(machine string) ([]string, error) {
	if err := removeCgroups(machine); err != nil {
		return nil, err
	}
	roots, err := cgroupRoots()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, root := range roots {
		dir := filepath.Join(root, machine)
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as every cgroup; /proc tells the same
			return nil, fmt.Errorf("making the machine's cgroup: %w", err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// removeCgroups removes the cgroups whose name matches the pattern, with those
// below them. Their processes have been killed, but may take a moment to go.
func removeCgroups(pattern string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return nil //nolint:nilerr // no cgroups, none to remove
	}
	var errs []error
	for _, root := range roots {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		errs = append(errs, err)
		for _, dir := range found {
			errs = append(errs, removeCgroup(dir))
		}
	}
	return errors.Join(errs...)
}

func removeCgroup(top string) error {
	// What was killed is gone within milliseconds; 5 s is for a very busy host.
	deadline := time.Now().Add(5 * time.Second)
	for {
		var dirs []string
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // one that has gone meanwhile is no error
		})
		if err != nil {
			return err
		}
		err = nil
		for _, dir := range slices.Backward(dirs) {
			if e := unix.Rmdir(dir); e != nil && !errors.Is(e, unix.ENOENT) {
				err = fmt.Errorf("removing cgroup %q: %w", dir, e)
			}
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// joinCgroups is a command line that enters the cgroups and then becomes the
// program: a process that were moved later would have made its own cgroups in
// the wrong place by then.
func joinCgroups(cgroups []string, program string, args ...string) []string {
	const script = `while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"`
	line := append([]string{"sh", "-c", script, "lab"}, cgroups...)
	return append(append(line, "--", program), args...)
}
