// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// stopping ends a context once something is said.
type stopping struct {
	bytes.Buffer
	stop func()
}

func (s *stopping) Write(text []byte) (int, error) {
	s.stop()
	return s.Buffer.Write(text)
}

// TestRenewalThatIsStopped has one of many stopped after the first of them: those have
// what they had revoked, as is asked for, and nobody else has anything revoked.
func TestRenewalThatIsStopped(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	command(t, folder, "init", "office", "--server-name", "vpn.example.com")
	openQuickly(t, filepath.Join(folder, "office", "ca", "1", "ca.key"))
	var names []string
	for i := range atOnce + 3 {
		names = append(names, fmt.Sprintf("client%d", i))
	}
	command(t, folder, append([]string{"issue", "--folder", "office"}, names...)...)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &stopping{stop: cancel}
	d := &desk{out: said, err: said, now: time.Now, become: func(authority.Folder) error { return nil }, env: func(name string) (string, bool) {
		if name != "VPNAMI_PASSPHRASE" {
			return "", false
		}
		return "correct horse", true
	}}
	cmd := d.command(nil)
	cmd.SetArgs(append([]string{"renew", "--folder", filepath.Join(folder, "office"), "--out", filepath.Join(folder, "renewed"), "--revoke-old"}, names...))
	if err := cmd.ExecuteContext(ctx); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("renewing client64, client65, client66, after %d of %d profiles: context canceled; the first %d are done", atOnce, atOnce+3, atOnce)) {
		t.Errorf("%v", err)
	}
	office, err := authority.Open(filepath.Join(folder, "office"))
	if err != nil {
		t.Fatal(err)
	}
	standing, err := office.Standing(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		p, _, err := office.Person(name)
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if i < atOnce {
			want = 2
		}
		if live := standing.Live(p); len(p.Certificates) != want || len(live) != 1 || live[0].Serial != p.Certificates[want-1].Serial {
			t.Errorf("%s has %d certificates, %d in force", name, len(p.Certificates), len(live))
		}
	}
	if !strings.Contains(said.String(), "revoked client0  serial ") {
		t.Errorf("it is not said:\n%s", said.String())
	}
}
