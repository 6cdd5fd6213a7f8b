// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// Session is a connected OpenVPN client on a host of the internet.
type Session struct {
	host    *Host
	cmd     *exec.Cmd
	logPath string
	device  string
	address netip.Prefix
	took    time.Duration
	done    chan struct{}
	once    sync.Once
}

// tunDevice is the line in which openvpn 2.6 and 2.7 name the device.
var tunDevice = regexp.MustCompile(`(?:TUN/TAP device|DCO device) (\S+) opened`)

// Connect starts the real openvpn client with that profile on this host and
// returns when it says "Initialization Sequence Completed". When ctx ends
// first, or the client gives up, the error ends with the client's log.
// More arguments go to openvpn after the profile.
func (h *Host) Connect(ctx context.Context, profile string, args ...string) (*Session, error) {
	// A log per session, so that a test can read what one client said.
	logFile, err := os.CreateTemp(h.logs, "openvpn-"+h.spec.Name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("connecting %q: %w", h.spec.Name, err)
	}
	defer logFile.Close()
	profile, err = filepath.Abs(profile)
	if err != nil {
		return nil, fmt.Errorf("connecting %q: %w", h.spec.Name, err)
	}
	// The session outlives ctx, which bounds the connecting only.
	openvpn := h.Command(context.WithoutCancel(ctx), "openvpn", append([]string{"--config", profile}, args...)...)
	openvpn.Stdout, openvpn.Stderr = logFile, logFile
	start := time.Now()
	if err := openvpn.Start(); err != nil {
		return nil, fmt.Errorf("connecting %q: starting openvpn: %w", h.spec.Name, err)
	}
	s := &Session{host: h, cmd: openvpn, logPath: logFile.Name(), done: make(chan struct{})}
	go func() {
		_ = openvpn.Wait() // how it ended is told by its log
		close(s.done)
	}()
	if err := s.waitCompleted(ctx); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("connecting %q with %q: %w\nend of the client's log:\n%s", h.spec.Name, profile, err, lastLines([]byte(s.Log()), 15))
	}
	s.took = time.Since(start)
	if err := s.readAddress(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("connecting %q: %w", h.spec.Name, err)
	}
	return s, nil
}

func (s *Session) waitCompleted(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		log, err := os.ReadFile(s.logPath)
		if err != nil {
			return err
		}
		if bytes.Contains(log, []byte("Initialization Sequence Completed")) {
			if m := tunDevice.FindSubmatch(log); m != nil {
				s.device = string(m[1])
				return nil
			}
			return errors.New("openvpn completed without naming its device")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errors.New("openvpn ended before it was connected")
		case <-tick.C:
		}
	}
}

func (s *Session) readAddress() error {
	return s.host.ns.do(func() error {
		link, err := netlink.LinkByName(s.device)
		if err != nil {
			return fmt.Errorf("finding tunnel device %q: %w", s.device, err)
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return fmt.Errorf("reading addresses of %q: %w", s.device, err)
		}
		for _, a := range addresses {
			ip, _ := netip.AddrFromSlice(a.IP.To4())
			ones, _ := a.Mask.Size()
			s.address = netip.PrefixFrom(ip, ones)
			return nil
		}
		return fmt.Errorf("tunnel device %q has no IPv4 address", s.device)
	})
}

// Address is the tunnel address that the gateway assigned.
func (s *Session) Address() netip.Addr { return s.address.Addr() }

// Network is the tunnel network as the client sees it.
func (s *Session) Network() netip.Prefix { return s.address.Masked() }

// Device is the client's tunnel device.
func (s *Session) Device() string { return s.device }

// Took is the time from the client's start to its completion.
func (s *Session) Took() time.Duration { return s.took }

// Done is closed when the client has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Log is what the client has said so far.
func (s *Session) Log() string {
	log, err := os.ReadFile(s.logPath)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Close disconnects as a user does (the client tells the gateway), and waits
// for the client's end.
func (s *Session) Close() error {
	s.once.Do(func() { _ = s.cmd.Process.Signal(syscall.SIGTERM) })
	select {
	case <-s.done:
		return nil
	// explicit-exit-notify 2 sends twice, a second apart.
	case <-time.After(5 * time.Second):
	}
	_ = s.cmd.Process.Kill()
	select {
	case <-s.done:
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("disconnecting %q: openvpn (pid %d) does not end", s.host.spec.Name, s.cmd.Process.Pid)
	}
}
