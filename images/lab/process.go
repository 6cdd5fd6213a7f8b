// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processes lists the ids of all processes of this pid namespace.
func processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// netnsOf is the identity of a process's network namespace, "net:[4026...]".
// A process that has gone, or a kernel thread, has none.
func netnsOf(pid int) string {
	link, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
	if err != nil {
		return ""
	}
	return link
}

// netnsIdentity is the same for a named namespace.
func netnsIdentity(ns namespace) (string, error) {
	info, err := os.Stat(ns.path())
	if err != nil {
		return "", err
	}
	stat, err := inode(info)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("net:[%d]", stat), nil
}

// hasMark tells whether the process carries this lab's mark in its environment.
func hasMark(pid int, lab string) bool {
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	return bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+labMark+"="+lab+"\x00"))
}

// findLeader finds the container's own PID 1 in the instance's network
// namespace: the process that is 1 in the innermost pid namespace.
func findLeader(ns string) (int, error) {
	want, err := netnsIdentity(openNamespace(ns))
	if err != nil {
		return 0, err
	}
	pids, err := processes()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if leads(pid, want) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no container runs in namespace %q", ns)
}

// isLeader tells whether a process that was found is the container's PID 1 still.
func isLeader(pid int, ns string) bool {
	want, err := netnsIdentity(openNamespace(ns))
	return err == nil && pid != 0 && leads(pid, want)
}

func leads(pid int, netns string) bool {
	if netnsOf(pid) != netns {
		return false
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	return err == nil && isBootedInit(string(status))
}

// isBootedInit tells of a process's /proc/PID/status whether it is PID 1 of a
// container, and systemd already: before that, nspawn's own process prepares
// the root there.
func isBootedInit(status string) bool {
	if !strings.HasPrefix(status, "Name:\tsystemd\n") {
		return false
	}
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			return len(fields) > 1 && fields[len(fields)-1] == "1"
		}
	}
	return false
}

// waitLeader is findLeader for a container that is being started.
func waitLeader(ctx context.Context, ns string) (int, error) {
	// nspawn has its container within a second; longer means that it has died.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		pid, err := findLeader(ns)
		if err == nil {
			return pid, nil
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}
