// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

// TestSignals: what the tags say follows what is in force and how the syncs end,
// and is said once.
func TestSignals(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	want := func(certificate, sync string) {
		t.Helper()
		if c, s := g.cloud.tags[certificateTag], g.cloud.tags[syncTag]; !strings.HasPrefix(c, certificate) || !strings.HasPrefix(s, sync) {
			t.Errorf("the tags say %q and %q, want %q and %q", c, s, certificate, sync)
		}
	}
	want("", "")
	g.sync(exitReady, "nothing new")
	want("good", "good")
	asked := g.cloud.asked("ec2")
	g.sync(exitReady, "nothing new")
	if g.cloud.asked("ec2") != asked {
		t.Error("what the tags say already is said again")
	}

	r, err := readResult(g.machine.layout.result())
	if err != nil {
		t.Fatal(err)
	}
	ends := r.Server.NotAfter
	if ca := r.Server.CANotAfter; ca.Before(ends) {
		ends = ca
	}
	g.clock = time.Until(ends.Add(-20*24*time.Hour)) + time.Hour
	g.sync(exitReady, "nothing new")
	want("server certificate ends "+ends.Format(time.DateOnly)+" (19 days)", "good")
	g.clock += 24 * time.Hour
	g.sync(exitReady, "nothing new")
	want("server certificate ends "+ends.Format(time.DateOnly)+" (18 days)", "good")
	g.clock = 0
	g.sync(exitReady, "nothing new")
	want("good", "good")

	g.cloud.spoil("secretsmanager", denied)
	began := time.Now()
	if _, said := g.syncs(); said.code == exitReady {
		t.Fatalf("a sync without its secret: %+v", said)
	}
	want("good", "good")
	g.clock = failingAfter - time.Minute
	_, _ = g.syncs()
	want("good", "good")
	g.clock = failingAfter + time.Minute
	_, _ = g.syncs()
	want("good", "failing since "+began.UTC().Format("2006-01-02T15:"))
	g.cloud.spoil("secretsmanager", nil)
	g.sync(exitReady, "nothing new")
	want("good", "good")
}

// TestSignalsDenied: what could not be said is said by a later sync, and is no
// reason to fail.
func TestSignalsDenied(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.cloud.spoil("CreateTags", denied)
	g.sync(exitReady, "nothing new")
	if said := g.log.String(); !strings.Contains(said, certificateTag) || !strings.Contains(said, "ec2:CreateTags") {
		t.Errorf("the journal has %s", said)
	}
	g.cloud.spoil("CreateTags", nil)
	g.sync(exitReady, "nothing new")
	if g.cloud.tags[certificateTag] != signalGood {
		t.Errorf("the tags are %v", g.cloud.tags)
	}
}

// TestSignalsOf: the first to end is told of, before what is merely overdue.
func TestSignalsOf(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	in := func(days int) time.Time { return now.AddDate(0, 0, days) }
	for _, c := range []struct {
		server, ca, crl int
		want            string
	}{
		{60, 600, 60, "good"},
		{31, 600, 31, "good"},
		{29, 600, 60, "server certificate ends 2026-12-25 (29 days)"},
		{29, 10, -1, "CA certificate ends 2026-12-06 (10 days)"},
		{-2, 600, 60, "server certificate ends 2026-11-24 (-2 days)"},
		{60, 600, -1, "CRL was to be renewed by 2026-11-25 (-1 days)"},
	} {
		r := Result{Server: &ServerEnd{NotAfter: in(c.server), CANotAfter: in(c.ca)}, CRL: &CRLEnd{NextUpdate: in(c.crl)}}
		if got := signalsOf(r, SyncEnd{}, now).Certificate; got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
