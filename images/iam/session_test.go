// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package iam

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

const (
	pluginName = "session-manager-plugin"
	// These are variables of its environment: the port of the guest, and a file that
	// the first session makes, which then breaks off.
	guestPort     = "VPNAMI_GUEST_PORT"
	brokenSession = "VPNAMI_BROKEN_SESSION"
)

// TestMain is the stand-in for AWS's session-manager-plugin when it is called by that
// name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		if first, err := os.OpenFile(os.Getenv(brokenSession), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_ = first.Close()
			return
		}
		if err := forward(os.Args[5], os.Getenv(guestPort)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// sessionManagerPlugin is a folder with the stand-in.
func sessionManagerPlugin(t *testing.T) string {
	t.Helper()
	own, err := os.Executable()
	folder := t.TempDir()
	if err == nil {
		err = os.Symlink(own, filepath.Join(folder, pluginName))
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// forward leads the local port of a session to the guest's, until it is killed.
func forward(session, guest string) error {
	var asked struct {
		Parameters struct {
			Local []string `json:"localPortNumber"`
		}
	}
	if err := json.Unmarshal([]byte(session), &asked); err != nil || len(asked.Parameters.Local) != 1 {
		return fmt.Errorf("reading the session %q: %w", session, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+asked.Parameters.Local[0])
	if err != nil {
		return fmt.Errorf("forwarding a port: %w", err)
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("forwarding a port: %w", err)
		}
		far, err := net.Dial("tcp", "127.0.0.1:"+guest)
		if err != nil {
			return fmt.Errorf("forwarding a port: %w", err)
		}
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
	}
}
