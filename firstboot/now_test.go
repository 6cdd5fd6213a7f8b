// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

// TestSSHNow: status tells of a rule that came after the gate was closed.
func TestSSHNow(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	b := g.program()
	if now := sshNow(t.Context(), b.metadata, b.services); now.Error != "" || len(now.Open) != 0 {
		t.Errorf("closed: got %+v", now)
	}
	again := newCloud(t).rules
	g.cloud.rules = append(g.cloud.rules, again...)
	if now := sshNow(t.Context(), b.metadata, b.services); len(now.Open) == 0 || !strings.Contains(now.Open[0], "sgr-0ssh") {
		t.Errorf("opened again: got %+v", now)
	}
	g.cloud.spoil("ec2", denied)
	if now := sshNow(t.Context(), b.metadata, b.services); !strings.Contains(now.Error, "UnauthorizedOperation") {
		t.Errorf("denied: got %+v", now)
	}
}

const statusFile = "TITLE\tOpenVPN 2.6.14\nTIME\t2026-11-24 10:00:00\t1795255200\nHEADER\tCLIENT_LIST\tCommon Name\n" +
	"CLIENT_LIST\tclient1\t198.51.100.1:40000\t10.0.255.6\nCLIENT_LIST\ta,b/c\t198.51.100.2:40000\nHEADER\tROUTING_TABLE\nGLOBAL_STATS\tdco_enabled\t0\nEND\n"

func TestSessions(t *testing.T) {
	now, err := parseSessions(statusFile)
	if err != nil || now.Count != 2 || !now.At.Equal(time.Unix(1795255200, 0)) {
		t.Errorf("got %+v, %v", now, err)
	}
	for _, text := range []string{"", "TIME\tx\ty\nEND\n", strings.TrimSuffix(statusFile, "END\n")} {
		if _, err := parseSessions(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzSessions(f *testing.F) {
	f.Add(statusFile)
	f.Fuzz(func(t *testing.T, text string) {
		if now, err := parseSessions(text); err == nil && (now.Count < 0 || now.Count > strings.Count(text, "CLIENT_LIST")) {
			t.Errorf("got %+v", now)
		}
	})
}
