// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// isolate moves the test into a network namespace of its own, which ends with
// the test's thread; what it starts is in there too.
func isolate(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip link set lo up && ip link add outside type veth peer name beyond && ip link set beyond up && ip address add 192.0.2.1/24 dev outside && ip link set outside up")
}

func sh(t *testing.T, script string) string {
	t.Helper()
	output, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, output)
	}
	return string(output)
}

// daemon is a running OpenVPN server with the rights that the unit gives it.
type daemon struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (d *daemon) Write(data []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(data)
}

func (d *daemon) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func startDaemon(t *testing.T, m machine) *daemon {
	t.Helper()
	d := &daemon{}
	status := filepath.Join(m.layout.root, "run")
	if err := os.Mkdir(status, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(status, m.daemon.uid, m.daemon.gid); err != nil {
		t.Fatal(err)
	}
	// udev makes the device accessible to everybody; where there is none it is
	// root's.
	node := filepath.Join(m.layout.root, "tun")
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(node, 0o666); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("openvpn", "--status", filepath.Join(status, "status.log"), "--status-version", "2", "--suppress-timestamps", "--dev-node", node, "--config", filepath.Join(m.layout.current(), "server.conf"))
	command.Stdout, command.Stderr = d, d
	command.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uint32(m.daemon.uid), Gid: uint32(m.daemon.gid)},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	for range 500 { // 5 s
		if strings.Contains(d.text(), "Options error") || strings.Contains(d.text(), "fatal error") {
			break
		}
		if strings.Contains(d.text(), connected) {
			return d
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the daemon does not start:\n%s", d.text())
	return nil
}

// serve lays down what the authority sealed and starts a daemon on it.
func serve(t *testing.T, a *authority, lines ...string) (machine, *daemon) {
	t.Helper()
	need(t, "openvpn", "ip")
	isolate(t)
	m := newMachine(t)
	files, err := render(articleConfig(t, lines...), a.bundle(t), m.placement, articleInstance())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.store.place(t.Context(), files, record{Instance: "i-1", Role: RoleVPN}); err != nil {
		t.Fatal(err)
	}
	if said, err := m.asDaemon("check-readable", "--root", m.layout.root); err != nil {
		t.Fatal(err, said)
	}
	return m, startDaemon(t, m)
}

// clientUnit is vpnami-probe.service without systemd: the client that the unit
// starts, as the user that it starts it as.
type clientUnit struct {
	*fakeUnits
	machine machine
	command *exec.Cmd
	log     *daemon
	gone    chan struct{}
}

func (c *clientUnit) RestartUnitContext(_ context.Context, _, _ string, result chan<- string) (int, error) {
	c.command = exec.Command("openvpn", "--config", filepath.Join(c.machine.layout.current(), probeConfig))
	c.log, c.gone = &daemon{}, make(chan struct{})
	c.command.Stdout, c.command.Stderr = c.log, c.log
	c.command.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(c.machine.daemon.uid), Gid: uint32(c.machine.daemon.gid)},
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := c.command.Start(); err != nil {
		return 0, err
	}
	go func() { _ = c.command.Wait(); close(c.gone) }()
	result <- "done"
	return 1, nil
}

func (c *clientUnit) GetUnitPropertyContext(_ context.Context, _, property string) (*dbus.Property, error) {
	state := "active"
	select {
	case <-c.gone:
		state = "inactive"
	default:
	}
	return &dbus.Property{Name: property, Value: godbus.MakeVariant(state)}, nil
}

func (c *clientUnit) GetUnitTypePropertyContext(_ context.Context, _, _, property string) (*dbus.Property, error) {
	text := "Pre-connection initialization successful"
	if strings.Contains(c.log.text(), connected) {
		text = connected
	}
	return &dbus.Property{Name: property, Value: godbus.MakeVariant(text)}, nil
}

func (c *clientUnit) KillUnitWithTarget(_ context.Context, _ string, _ dbus.Who, signal int32) error {
	return c.command.Process.Signal(syscall.Signal(signal))
}

func (c *clientUnit) StopUnitContext(_ context.Context, _, _ string, result chan<- string) (int, error) {
	_ = c.command.Process.Kill()
	<-c.gone
	result <- "done"
	return 1, nil
}

func (c *clientUnit) words(context.Context, string) string {
	return inParentheses(tellingLine(c.log.text()))
}

// connected is OpenVPN's word that all is done.
const connected = "Initialization Sequence Completed"

func proveHere(t *testing.T, m machine) error {
	t.Helper()
	client := &clientUnit{machine: m}
	up := &starter{units: client, store: m.store, lastWords: client.words}
	began := time.Now()
	err := up.prove(t.Context())
	t.Logf("proving took %s: %v", time.Since(began).Round(time.Millisecond), err)
	if err := up.dismiss(t.Context()); err != nil {
		t.Error(err)
	}
	return err
}

func TestProve(t *testing.T) {
	for name, lines := range map[string][]string{
		"article":  nil,
		"tcp":      {"proto: tcp", "port: 4433"},
		"smallest": {"network: 172.31.9.8/29"},
		"largest":  {"network: 172.20.0.0/16"},
		"dns":      {"dns: [10.0.0.2]", "routes: [10.0.0.0/16, 10.7.0.0/24]"},
	} {
		t.Run(name, func(t *testing.T) {
			m, server := serve(t, newAuthority(t), lines...)
			if err := proveHere(t, m); err != nil {
				t.Fatalf("%v\n%s", err, server.text())
			}
			if !strings.Contains(server.text(), bundle.ProbeName) {
				t.Errorf("the daemon's log does not name the probe:\n%s", server.text())
			}
			if proto := strings.Join(lines, " "); !strings.Contains(proto, "tcp") {
				eventually(t, "the daemon to see the probe leave", func() bool { return strings.Contains(server.text(), "exit message received") })
			}
		})
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 300 { // 3 s
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("waited in vain for %s", what)
}

func TestProveFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, m machine)
		words string
	}{
		"revoked": {func(t *testing.T, m machine) {
			serials, err := os.ReadFile(filepath.Join(m.layout.current(), "serials", bundle.ProbeName))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(m.layout.current(), "revoked", strings.TrimSpace(string(serials))), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "TLS key negotiation failed"},
		"not on the list": {func(t *testing.T, m machine) {
			if err := os.Remove(filepath.Join(m.layout.current(), "ccd", bundle.ProbeName)); err != nil {
				t.Fatal(err)
			}
		}, "AUTH_FAILED"},
		"no hook": {func(t *testing.T, m machine) {
			if err := os.Remove(m.placement.hook); err != nil {
				t.Fatal(err)
			}
		}, "AUTH_FAILED"},
		"another serial": {func(t *testing.T, m machine) {
			if err := os.WriteFile(filepath.Join(m.layout.current(), "serials", bundle.ProbeName), []byte("99\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "AUTH_FAILED"},
		"from outside": {func(t *testing.T, m machine) {
			path := filepath.Join(m.layout.current(), probeConfig)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte("127.0.0.1"), []byte("192.0.2.1")), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "AUTH_FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			m, server := serve(t, newAuthority(t))
			c.spoil(t, m)
			err := proveHere(t, m)
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want words %q\n%s", err, c.words, server.text())
			}
			if state, _ := verdict(err); state != Refused {
				t.Errorf("state %s", state)
			}
		})
	}
}

// TestNoWrapping: while profiles of another program are out, the daemon takes
// clients without tls-crypt-v2, and the probe is one.
func TestNoWrapping(t *testing.T) {
	a := newAuthority(t)
	a.server.Wrapping = bundle.NoWrapping
	m, server := serve(t, a)
	if err := proveHere(t, m); err != nil {
		t.Errorf("%v\n%s", err, server.text())
	}
	// Shown able to fail: a client with a key is not understood.
	probe := filepath.Join(m.layout.current(), probeConfig)
	text, err := os.ReadFile(probe)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "tls-crypt-v2 %s\n", filepath.Join(m.layout.current(), "probe", "tls-crypt-v2.key"))
	if err := os.WriteFile(probe, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := proveHere(t, m); err == nil {
		t.Error("a client with a key is taken by a daemon without")
	}
}
