// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Down removes everything of the lab of that name: processes, mounts,
// namespaces with all that is in them, folders. It asks nobody and reads no
// state, so it works after any part was killed, and any number of times.
// Unpacked images stay in the cache.
func Down(ctx context.Context, name string, log *slog.Logger) error {
	if err := checkLabName(name); err != nil {
		return err
	}
	// Processes first, and again until none is left: one that was about to
	// start another may have done so.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		left, err := killAll(name, log)
		if err != nil {
			return fmt.Errorf("taking lab %q down: %w", name, err)
		}
		if left == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("taking lab %q down: %d processes do not end: %w", name, left, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	names, err := namespaces(name)
	if err != nil {
		return fmt.Errorf("taking lab %q down: %w", name, err)
	}
	errs := []error{unmountAll(diskDir(name)), unmountAll(runDir(name)), removeCgroups("vpnami-" + name + "-*")}
	for _, ns := range names {
		errs = append(errs, ns.delete())
	}
	traces, err := filepath.Glob("/run/systemd/nspawn/*/vpnami-" + name + "-*")
	errs = append(errs, err)
	for _, t := range traces {
		errs = append(errs, os.RemoveAll(t))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("taking lab %q down: %w", name, err)
	}
	// The folders last, and only when nothing is mounted below them.
	for _, dir := range []string{diskDir(name), runDir(name)} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("taking lab %q down: %w", name, err)
		}
		_ = os.Remove(filepath.Dir(dir)) // when it was the last lab
	}
	return nil
}

// Names lists the labs of which anything is on this machine: running, or left
// behind.
func Names() ([]string, error) {
	seen := map[string]bool{}
	for dir, nameOf := range map[string]func(string) string{
		runRoot:   func(entry string) string { return entry },
		diskRoot:  func(entry string) string { return entry },
		netnsRoot: labOfNamespace,
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("looking for labs: %w", err)
		}
		for _, e := range entries {
			if name := nameOf(e.Name()); checkLabName(name) == nil {
				seen[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// labOfNamespace is the inverse of [namespaceName]; "" when it is no lab's.
func labOfNamespace(ns string) string {
	rest, ours := strings.CutPrefix(ns, "vpnami-")
	name, _, whole := strings.Cut(rest, "-") // no lab's name has a dash
	if !ours || !whole {
		return ""
	}
	return name
}

// killAll kills every process of the lab: those in one of its network
// namespaces and those that carry its mark. It counts those it found.
func killAll(name string, log *slog.Logger) (int, error) {
	names, err := namespaces(name)
	if err != nil {
		return 0, err
	}
	ours := map[string]bool{}
	for _, ns := range names {
		if id, err := netnsIdentity(ns); err == nil {
			ours[id] = true
		}
	}
	// A name whose namespace could not be mounted yet is a plain file, on the
	// file system of /run/netns: no process is "in" it.
	delete(ours, netnsOf(os.Getpid()))
	pids, err := processes()
	if err != nil {
		return 0, err
	}
	found := 0
	for _, pid := range pids {
		if pid == os.Getpid() || pid == 1 || (!ours[netnsOf(pid)] && !hasMark(pid, name)) {
			continue
		}
		if isZombie(pid) {
			continue
		}
		found++
		log.Debug("killing", "lab", name, "pid", pid)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return found, fmt.Errorf("killing process %d: %w", pid, err)
		}
	}
	return found, nil
}

// isZombie: a process whose parent has not fetched its end yet is no longer there.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	// The state follows the command in parentheses, which may contain any byte.
	_, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
	return bytes.HasPrefix(after, []byte("Z"))
}

// namespaces lists the lab's namespaces.
func namespaces(name string) ([]namespace, error) {
	entries, err := os.ReadDir(netnsRoot)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []namespace
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), namespaceName(name, "")) {
			found = append(found, openNamespace(e.Name()))
		}
	}
	return found, nil
}

// unmountAll unmounts what is mounted on a folder or below it, the last
// first. A mount that is busy is detached: nothing of ours runs any more.
func unmountAll(dir string) error {
	points, err := mountPoints()
	if err != nil {
		return err
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	for _, p := range points {
		if p != dir && !strings.HasPrefix(p, dir+"/") {
			continue
		}
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmounting %q: %w", p, err)
		}
	}
	return nil
}

func mountPoints() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []string
	for in := bufio.NewScanner(f); in.Scan(); {
		if fields := strings.Fields(in.Text()); len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	return points, nil
}
