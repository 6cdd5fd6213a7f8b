// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a named network namespace, /run/netns/NAME, as `ip netns` has them.
// Without a name it is this process's own.
type namespace struct {
	name string
}

func openNamespace(name string) namespace { return namespace{name: name} }

func (n namespace) path() string { return filepath.Join(netnsRoot, n.name) }

// create makes the namespace, with its loopback up and the kernel's own
// defaults: a new namespace otherwise inherits the host's forwarding and
// filtering (net.core.devconf_inherit_init_net).
func (n namespace) create() error {
	if err := os.MkdirAll(netnsRoot, 0o755); err != nil { //nolint:gosec // as iproute2 makes it
		return fmt.Errorf("creating namespace %q: %w", n.name, err)
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread, which lives in the new namespace, ends
		// with this goroutine.
		runtime.LockOSThread()
		ns, err := netns.NewNamed(n.name)
		if err != nil {
			done <- err
			return
		}
		done <- errors.Join(ns.Close(), setKernelDefaults())
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("creating namespace %q: %w", n.name, err)
	}
	return nil
}

func setKernelDefaults() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	return setSysctls(map[string]string{
		"net/ipv4/ip_forward":              "0",
		"net/ipv4/conf/all/rp_filter":      "0",
		"net/ipv4/conf/default/rp_filter":  "0",
		"net/ipv6/conf/all/forwarding":     "0",
		"net/ipv6/conf/all/disable_ipv6":   "0",
		"net/ipv6/conf/all/accept_ra":      "1",
		"net/ipv6/conf/default/forwarding": "0",
	})
}

// setSysctls writes sysctls of the calling thread's network namespace. A
// kernel without IPv6 has none of net/ipv6.
func setSysctls(values map[string]string) error {
	for key, value := range values {
		err := os.WriteFile(filepath.Join("/proc/thread-self/root/proc/sys", key), []byte(value), 0o600)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(key, "net/ipv6") {
			continue
		}
		if err != nil {
			return fmt.Errorf("setting sysctl %q: %w", key, err)
		}
	}
	return nil
}

// do runs f on a thread in the namespace.
func (n namespace) do(f func() error) error {
	if n.name == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("entering namespace %q: %w", n.name, err)
			return
		}
		defer home.Close()
		target, err := netns.GetFromPath(n.path())
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("entering namespace %q: %w", n.name, err)
			return
		}
		defer target.Close()
		if err := netns.Set(target); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("entering namespace %q: %w", n.name, err)
			return
		}
		result := f()
		// A thread that cannot go home stays locked, and so ends with this goroutine.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- result
	}()
	return <-done
}

// fd opens the namespace for netlink calls that name one. The caller closes it.
func (n namespace) fd() (*os.File, error) { return os.Open(n.path()) }

// handle is a netlink handle in the namespace. The caller closes it.
func (n namespace) handle() (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(n.path())
	if err != nil {
		return nil, fmt.Errorf("entering namespace %q: %w", n.name, err)
	}
	defer ns.Close()
	return netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
}

// command is a program in the namespace. nsenter, not `ip netns exec`, which
// would remount /sys and hide the cgroups that systemd-nspawn needs.
func (n namespace) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if n.name == "" {
		return exec.CommandContext(ctx, name, args...) //nolint:gosec // the caller's own command
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.path(), "--", name}, args...)...) //nolint:gosec // the caller's own command
}

// detached is a program in the namespace that outlives whoever starts it: it
// is ended by order, or by [Down].
func (n namespace) detached(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--net=" + n.path(), "--", name}, args...)...) //nolint:noctx // it outlives every context
	// A session of its own: a Ctrl-C at the terminal is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// dial connects from the namespace. Address must be IP:PORT: a name would be
// resolved by another goroutine, outside.
func (n namespace) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := n.do(func() error {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func (n namespace) listen(ctx context.Context, address string) (net.Listener, error) {
	var listener net.Listener
	err := n.do(func() error {
		var err error
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		return err
	})
	return listener, err
}

// delete removes the name; the kernel removes the namespace with its last
// process and socket.
func (n namespace) delete() error {
	// As often as something was mounted there.
	for unix.Unmount(n.path(), unix.MNT_DETACH) == nil {
	}
	if err := os.Remove(n.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("deleting namespace %q: %w", n.name, err)
	}
	return nil
}
