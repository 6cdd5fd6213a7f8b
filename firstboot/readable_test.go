// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
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
			said, err := m.asDaemon("check-readable", "--root", m.layout.root)
			if (err == nil) != (spoil == nil) || spoil != nil && !strings.Contains(said, "reading as the daemon's user: ") {
				t.Errorf("got %v, %s", err, said)
			}
		})
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
