// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// containers boots the image's root as a container, on an overlay of its own
// per instance, which outlives its reboots.
type containers struct {
	topology topology
}

// Signals by which systemd as PID 1 takes orders (systemd(1), "Signals").
const (
	sigrtmin         = 34
	sigPowerOff      = syscall.Signal(sigrtmin + 4)
	sigReboot        = syscall.Signal(sigrtmin + 5)
	nspawnRebootExit = 133 // systemd-nspawn with --keep-unit: the container wants to be started again
)

func (c containers) plug(_ context.Context, s station) error {
	if err := c.mount(s); err != nil {
		return err
	}
	return c.topology.plugIn(s.ns, s.name, s.mac)
}

func mountPoint(s station) string { return filepath.Join(s.disk, "root") }

func (c containers) mount(s station) error {
	upper, work, root := filepath.Join(s.disk, "upper"), filepath.Join(s.disk, "work"), mountPoint(s)
	if _, err := os.Stat(filepath.Join(root, "usr")); err == nil {
		return nil
	}
	for _, dir := range []string{upper, work, root} {
		// 0755: the upper's mode is the mode of the machine's own "/".
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the machine's own "/"
			return fmt.Errorf("making disk: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", s.image, upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting disk on %q: %w", root, err)
	}
	return nil
}

// command lets systemd-nspawn make the container's /dev/net/tun, a node of its
// own (nspawn.c, copy_devnodes), and binds none: systemd inside sets the mode
// that OpenVPN's own user needs (tmpfiles.d/static-nodes-permissions.conf),
// and on a bound node that would change this machine's.
func (c containers) command(s station) (*exec.Cmd, error) {
	uuid, err := hypervisorFile(s)
	if err != nil {
		return nil, err
	}
	cgroups, err := makeCgroups(machineName(s))
	if err != nil {
		return nil, err
	}
	line := joinCgroups(cgroups, "systemd-nspawn",
		"--quiet", "--directory="+mountPoint(s), "--machine="+machineName(s), "--hostname="+s.hostname,
		"--boot", "--register=no", "--keep-unit", "--bind-ro="+uuid+":/sys/hypervisor/uuid",
		"--capability=CAP_NET_ADMIN,CAP_NET_RAW",
		"--console=read-only", "--kill-signal=SIGRTMIN+3", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
		"systemd.setenv=AWS_ENDPOINT_URL="+s.endpoint)
	cmd := s.ns.detached(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	return cmd, nil
}

func machineName(s station) string { return "vpnami-" + s.lab + "-" + s.name }

func (c containers) rebooted(end *os.ProcessState) bool { return end.ExitCode() == nspawnRebootExit }

func (c containers) shutdown(s station, order machineOrder) error {
	signal := sigPowerOff
	if order == orderReboot {
		signal = sigReboot
	}
	leader, err := findLeader(s.ns.name)
	if err != nil {
		return err
	}
	return syscall.Kill(leader, signal)
}

func (c containers) kill(s station, cmd *exec.Cmd) error {
	if leader, err := findLeader(s.ns.name); err == nil {
		// With PID 1 goes every process of its pid namespace.
		if err := syscall.Kill(leader, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (c containers) release(s station) error {
	if err := unmountAll(mountPoint(s)); err != nil {
		return err
	}
	return errors.Join(removeNspawnTraces(machineName(s)), removeCgroups(machineName(s)))
}

// removeNspawnTraces removes what systemd-nspawn leaves behind where /run is
// not a tmpfs, or when it was killed.
func removeNspawnTraces(machine string) error {
	return errors.Join(
		os.RemoveAll(filepath.Join("/run/systemd/nspawn/propagate", machine)),
		os.RemoveAll(filepath.Join("/run/systemd/nspawn/unix-export", machine)),
	)
}
