// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Host is a machine on the internet: a network namespace in which the real
// clients run, on the files of the host itself.
type Host struct {
	spec HostSpec
	ns   namespace
	key  string // file of the private key that SSH offers
	logs string // folder of the clients' logs
}

// Here is this machine itself as a host, for clients of what is in no lab: what they
// open, a tunnel and its routes, is this machine's own.
func Here(key, logs string) *Host {
	return &Host{spec: HostSpec{Name: "here"}, key: key, logs: logs}
}

// With is the same host, whose SSH offers another key.
func (h *Host) With(key string) *Host {
	other := *h
	other.key = key
	return &other
}

// Name is the host's name.
func (h *Host) Name() string { return h.spec.Name }

// Address is its address on the internet.
func (h *Host) Address() netip.Addr { return h.spec.Address }

// Namespace is the name of its network namespace, for `ip netns exec`.
func (h *Host) Namespace() string { return h.ns.name }

// Command is a program in the host's network.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return h.ns.command(ctx, name, args...)
}

// Run runs a program in the host's network and returns its standard output.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := h.Command(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running %q on %q: %w: %s", append([]string{name}, args...), h.spec.Name, err, lastLines(stderr.Bytes(), 5))
	}
	return stdout.String(), nil
}

// Do runs f on a thread in the host's network namespace. Sockets that f makes
// stay there; goroutines that f starts do not run there.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// DialContext connects from the host. The address is IP:PORT.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return h.ns.dial(ctx, network, address)
}

// Port is what a connection attempt found.
type Port string

// What a TCP port looks like from outside.
const (
	PortOpen        Port = "open"        // the connection was accepted
	PortClosed      Port = "closed"      // refused by the machine itself
	PortFiltered    Port = "filtered"    // no answer at all
	PortUnreachable Port = "unreachable" // a router said that there is no way
)

// Probe tries to connect to the TCP port IP:PORT from the host. No answer
// within wait counts as [PortFiltered].
func (h *Host) Probe(ctx context.Context, address string, wait time.Duration) (Port, error) {
	return probe(ctx, h.ns, address, wait)
}

func probe(ctx context.Context, ns namespace, address string, wait time.Duration) (Port, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return "", fmt.Errorf("probing %q: want IP:PORT: %w", address, err)
	}
	dialCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := ns.dial(dialCtx, "tcp", address)
	switch {
	case err == nil:
		return PortOpen, conn.Close()
	case ctx.Err() != nil:
		return "", fmt.Errorf("probing %q from %q: %w", address, ns.name, ctx.Err())
	case errors.Is(err, syscall.ECONNREFUSED):
		return PortClosed, nil
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return PortUnreachable, nil
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return PortFiltered, nil
	}
	return "", fmt.Errorf("probing %q from %q: %w", address, ns.name, err)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// WaitPort probes until the port looks as wanted, and tells how long it took.
func (h *Host) WaitPort(ctx context.Context, address string, want Port) (time.Duration, error) {
	start := time.Now()
	last := Port("nothing")
	for {
		port, err := h.Probe(ctx, address, 300*time.Millisecond)
		if err == nil && port == want {
			return time.Since(start), nil
		}
		if err == nil {
			last = port
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for %s to be %s from %q (it was %s): %w", address, want, h.spec.Name, last, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// SSHCommand is the real ssh client on this host, with the lab's key. Host
// keys are not checked: the machines are minutes old.
func (h *Host) SSHCommand(ctx context.Context, user string, address netip.Addr, args ...string) *exec.Cmd {
	return h.Command(ctx, "ssh", append(sshOptions(h.key, user, address), args...)...)
}

// SSH runs a command over SSH and returns its standard output.
func (h *Host) SSH(ctx context.Context, user string, address netip.Addr, args ...string) (string, error) {
	return h.Run(ctx, "ssh", append(sshOptions(h.key, user, address), args...)...)
}

func sshOptions(key, user string, address netip.Addr) []string {
	return []string{
		"-F", "none", "-i", key, "-l", user,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=10", address.String(),
	}
}

// sshFromRouter is how a command enters a whole machine: by SSH from the
// VPC's own router, which is inside the VPC for the machine's packet filter
// and outside of every security group.
func (i *Instance) sshFromRouter(ctx context.Context, args []string) *exec.Cmd {
	ns := openNamespace(namespaceName(i.lab.options.Name, "vpc"))
	quoted := "sudo -n --"
	for _, a := range args {
		quoted += " " + shellQuote(a)
	}
	return ns.command(ctx, "ssh", append(sshOptions(filepath.Join(runDir(i.lab.options.Name), "key"), loginUser, i.machine.PrivateAddress), quoted)...)
}
