// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadable: a revoked set that the daemon cannot read would let everybody
// in. What is asked is the program itself, as the daemon's user.
func TestReadable(t *testing.T) {
	need(t)
	for name, spoil := range map[string]func(folder string) error{
		"good": nil,
		"a serial": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "revoked/17"), nil, 0o600)
		},
		"no folder":  func(folder string) error { return os.RemoveAll(filepath.Join(folder, "revoked")) },
		"the folder": func(folder string) error { return os.Chown(filepath.Join(folder, "revoked"), 0, 0) },
		"a way in":   func(folder string) error { return os.Chmod(folder+"/.", 0o700) },
		"a person":   func(folder string) error { return os.Chmod(filepath.Join(folder, "ccd/client1"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			placeLoaded(t, m)
			if spoil != nil {
				if err := spoil(m.layout.current()); err != nil {
					t.Fatal(err)
				}
			}
			// The unit's way: OpenVPN is not even started.
			said, err := m.asDaemon("check-readable", "--root", m.layout.root, "/bin/echo", "--config", "it is started")
			if strings.Contains(said, "it is started") != (spoil == nil) {
				t.Errorf("becomes the program: got %v, %s", err, said)
			}
			said, err = m.asDaemon("check-readable", "--root", m.layout.root)
			if (err == nil) != (spoil == nil) || spoil != nil && !strings.Contains(said, "reading as the daemon's user: ") {
				t.Errorf("got %v, %s", err, said)
			}
		})
	}
}

// TestReadableBecomes: the program that the unit wants is the same process, with
// the arguments and the environment that systemd gave; one that cannot be
// started is a failure.
func TestReadableBecomes(t *testing.T) {
	need(t)
	m := newMachine(t)
	placeLoaded(t, m)
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	said, err := m.asDaemon("check-readable", "--root", m.layout.root, "/bin/sh", "-c", `echo "$PPID $NOTIFY_SOCKET $1"`, "sh", "--root")
	if want := fmt.Sprintf("%d /run/systemd/notify --root\n", os.Getpid()); err != nil || said != want {
		t.Errorf("got %v, %q, want %q", err, said, want)
	}
	for program, words := range map[string]string{"/no/such/openvpn": "starting \"/no/such/openvpn\": no such file", "openvpn": "by its absolute path"} {
		if said, err := m.asDaemon("check-readable", "--root", m.layout.root, program); err == nil || !strings.Contains(said, words) {
			t.Errorf("got %v, %q, want %q", err, said, words)
		}
	}
}

// TestReadableWithinLimits: what the daemon's unit allows is enough on a large
// machine with many revoked. The distribution's unit allows ten threads, and Go
// starts more for its garbage alone, where it finds many processors.
func TestReadableWithinLimits(t *testing.T) {
	need(t)
	m := newMachine(t)
	placeLoaded(t, m)
	for serial := range 20_000 {
		if err := os.Link(m.layout.bootID(), filepath.Join(m.layout.current(), revokedFolder, fmt.Sprint(serial))); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOMAXPROCS", "64")
	if text := unitSays(t, "Environment"); text != "" {
		name, value, _ := strings.Cut(text, "=")
		t.Setenv(name, value)
	}
	// Root's own are not bound by it; those that become another user are.
	allow(t, unix.RLIMIT_NPROC, cmp.Or(unitSays(t, "LimitNPROC"), "10"))
	for range 5 {
		said, err := m.asDaemon("check-readable", "--root", m.layout.root, "/bin/echo", "it is started")
		if err != nil || !strings.Contains(said, "it is started") {
			t.Fatalf("%v, %.300s", err, said)
		}
	}
}

// TestManyConnections: where the daemon cannot open a file more, OpenVPN lets in
// whom it cannot read to be revoked, so it must come to the end of its clients
// first; anybody may connect over TCP, and be silent.
func TestManyConnections(t *testing.T) {
	a := newAuthority(t)
	a.person("client1")
	need(t, "openvpn", "ip")
	allow(t, unix.RLIMIT_NOFILE, cmp.Or(unitSays(t, "LimitNOFILE"), "1024")) // systemd's own
	_, d := serve(t, a, "proto: tcp", "network: 10.200.0.0/16")
	allow(t, unix.RLIMIT_NOFILE, "4096") // for this test's own ends
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		said := d.text()
		if strings.Contains(said, "Too many open files") || time.Now().After(end) {
			t.Fatalf("the daemon says %q", said[max(0, len(said)-300):])
		}
		if strings.Contains(said, "would exceed maximum number of clients") {
			return
		}
		// It may be slower than this.
		if connection, err := net.DialTimeout("tcp4", "127.0.0.1:1194", time.Second); err == nil {
			defer connection.Close()
		}
	}
}

// unitSays is what the daemon's unit has for a key.
func unitSays(t *testing.T, key string) string {
	t.Helper()
	unit, err := os.ReadFile("../images/rootfs/usr/lib/systemd/system/openvpn-server@vpn.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(unit)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return value
		}
	}
	return ""
}

// allow sets a limit for what the test starts, until it ends.
func allow(t *testing.T, resource int, limit string) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(resource, &before); err != nil {
		t.Fatal(err)
	}
	allowed := before
	var err error
	if allowed.Cur, err = strconv.ParseUint(limit, 10, 64); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(resource, &allowed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(resource, &before) })
}

// placeLoaded lays a generation down whose rules are loaded.
func placeLoaded(t *testing.T, m machine) {
	t.Helper()
	place(t, m, "one")
	if err := m.store.taken(filterUnit); err != nil {
		t.Fatal(err)
	}
}

// TestReadableWaitsForFilter: whoever starts the daemon, it serves nobody before
// the kernel has the rules that belong to its files.
func TestReadableWaitsForFilter(t *testing.T) {
	need(t)
	m := newMachine(t)
	place(t, m, "one")
	started := filepath.Join(m.layout.root, "tmp", "started")
	if err := os.Mkdir(filepath.Dir(started), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(started), 0o777); err != nil { // the daemon's user writes there
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		said, err := m.asDaemon("check-readable", "--root", m.layout.root, "/usr/bin/touch", started)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, said)
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := os.Stat(started); err == nil {
		t.Fatal("the program was started before the rules were loaded")
	}
	if err := m.store.taken(filterUnit); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(started); err != nil {
		t.Error(err)
	}
}

// asDaemon runs the program with the rights of the daemon's user.
func (m machine) asDaemon(args ...string) (string, error) {
	command := exec.Command("/proc/self/exe", args...)
	command.Args[0] = "vpnami-firstboot" // what this test's binary then is
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(m.daemon.uid), Gid: uint32(m.daemon.gid)}}
	said, err := command.CombinedOutput()
	return string(said), err
}
