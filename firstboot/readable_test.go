// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
			place(t, m, "one")
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
	place(t, m, "one")
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

// asDaemon runs the program with the rights of the daemon's user.
func (m machine) asDaemon(args ...string) (string, error) {
	command := exec.Command("/proc/self/exe", args...)
	command.Args[0] = "vpnami-firstboot" // what this test's binary then is
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(m.daemon.uid), Gid: uint32(m.daemon.gid)}}
	said, err := command.CombinedOutput()
	return string(said), err
}
