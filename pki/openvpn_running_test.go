// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// running is an openvpn with its log.
type running struct {
	cmd  *exec.Cmd
	path string
}

func start(t *testing.T, configuration string) *running {
	t.Helper()
	r := &running{path: filepath.Join(t.TempDir(), "log")}
	output, err := os.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	args := []string{"--cd", filepath.Dir(configuration), "--config", configuration}
	if strings.HasSuffix(configuration, ".ovpn") {
		args = append(args, "--dev", "tun1", "--dev-type", "tun", "--ifconfig-noexec", "--route-noexec", "--connect-retry", "1")
	}
	r.cmd = exec.Command("openvpn", args...)
	r.cmd.Stdout, r.cmd.Stderr = output, output
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.end(t) })
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = r.cmd.Wait()
}

func (r *running) log(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (r *running) waitFor(t *testing.T, words string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(r.log(t), words) {
			return
		}
	}
	t.Fatalf("openvpn did not say %q within 20s:\n%s", words, r.log(t))
}

func (r *running) complainsOfNothing(t *testing.T) {
	t.Helper()
	for _, bad := range []string{"WARNING", "DEPRECATED"} {
		for line := range strings.Lines(r.log(t)) {
			if strings.Contains(line, bad) {
				t.Errorf("the client says: %s", line)
			}
		}
	}
}
