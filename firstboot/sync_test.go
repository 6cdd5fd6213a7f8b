// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// sync is syncs, which must end so.
func (g *gateway) sync(code int, words string) SyncEnd {
	g.t.Helper()
	end, got := g.syncs()
	if got.code != code || !strings.Contains(got.out, words) {
		g.t.Errorf("sync: exit %d, %q; want %d with %q", got.code, got.out, code, words)
	}
	if r, err := readResult(g.machine.layout.result()); err == nil {
		g.check(r)
	}
	return end
}

type synced struct {
	code int
	out  string
}

// syncs runs the program as the timer does.
func (g *gateway) syncs() (SyncEnd, synced) {
	g.t.Helper()
	var out bytes.Buffer
	code := g.program().sync(g.t.Context(), &out, &out)
	end, err := readSync(g.machine.layout.sync())
	if err != nil {
		g.t.Error(err)
	}
	return end, synced{code, out.String()}
}

// publishAgain publishes the next generation with what is changed of the people.
func (g *gateway) publishAgain(generation uint64) {
	g.t.Helper()
	sealed, err := bundle.Seal(g.people.server, g.people.access, "vpn/office", generation)
	if err != nil {
		g.t.Fatal(err)
	}
	g.cloud.publish(sealed)
}

// TestSyncRevocation: who is revoked is in the set that the daemon asks at each
// handshake, and nothing is restarted.
func TestSyncRevocation(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.systemd.taken()
	end := g.sync(exitReady, "nothing new: generation 1")
	if end.Looked.IsZero() || !end.Brought.IsZero() {
		t.Errorf("got %+v", end)
	}
	asked, proofs := g.cloud.asked("ec2"), g.proofs
	g.sync(exitReady, "nothing new")
	if g.cloud.asked("ec2") != asked || g.proofs != proofs {
		t.Error("a sync with nothing new asks EC2, or proves anew")
	}

	certificate, _ := g.people.person("thief")
	g.people.access.CRL = g.people.CRL(2, certificate.SerialNumber)
	g.people.access.Roster = g.people.access.Roster[:1]
	g.publishAgain(2)
	if end := g.sync(exitReady, "brought in generation 2"); end.Brought.IsZero() {
		t.Errorf("got %+v", end)
	}
	if _, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", certificate.SerialNumber.String())); err != nil {
		t.Error(err)
	}
	if jobs := g.systemd.taken(); len(jobs) != 0 {
		t.Errorf("restarts %q", jobs)
	}
	if r, _ := readResult(g.machine.layout.result()); r.Server == nil || r.Server.Generation != 2 || r.State != Ready {
		t.Errorf("got %+v", r)
	}
	if now, _ := g.machine.store.read(g.machine.layout.proven()); now.CRL.Number != "2" {
		t.Errorf("proven is %+v", now)
	}
}

// TestSyncGlances: where nothing is new, two secrets are read however many there
// are, and what is found in them is found as before.
func TestSyncGlances(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	reads := func() int {
		before := g.cloud.asked("secretsmanager")
		g.sync(exitReady, "nothing new")
		return g.cloud.asked("secretsmanager") - before
	}
	if all := reads(); all < 4 {
		t.Errorf("the first sync after a run reads %d secrets", all)
	}
	for range 2 {
		if two := reads(); two != 2 {
			t.Errorf("a sync with nothing new reads %d secrets, want 2", two)
		}
	}
	g.clock = glanceFor + time.Minute
	if all := reads(); all < 4 {
		t.Errorf("after %s a sync reads %d secrets", glanceFor, all)
	}
	for _, c := range []struct {
		name   string
		change func()
		code   int
		words  string
	}{
		{"another launch", func() { g.cloud.launch(vpnDocument + "dns: [10.0.0.2]\n") }, exitReady, "brought in generation 1"},
		{"another publish", func() { g.publishAgain(2) }, exitReady, "brought in generation 2"},
		{"ended certificates", func() { g.clock = 20 * 365 * 24 * time.Hour }, exitRefused, "ended at"},
		{"a person at the disk", func() { _ = os.Remove(g.machine.layout.current()) }, exitReady, "brought in generation 2"},
		{"a server secret alone", func() { g.cloud.secrets["vpn/office/server"] = []byte("{}") }, exitRefused, "opening secrets"},
	} {
		reads() // whatever it was, it is seen and in force
		c.change()
		g.sync(c.code, c.words)
		if g.clock = 0; c.code != exitReady {
			g.publishAgain(2)
		}
		g.sync(exitReady, "nothing new")
		if t.Failed() {
			t.Fatal(c.name)
		}
	}
}

// TestSyncRotation: a new certificate of the gateway is taken up by a restart,
// and proven.
func TestSyncRotation(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.systemd.taken()
	proofs := g.proofs
	server := g.people.Server()
	server.TLSCryptV2 = g.people.server.TLSCryptV2
	g.people.server = server
	g.publishAgain(2)
	g.sync(exitReady, "brought in generation 2")
	if diff := cmp.Diff([]string{"restart " + openvpnUnit}, g.systemd.taken()); diff != "" || g.proofs != proofs+1 {
		t.Errorf("%d proofs: %s", g.proofs-proofs, diff)
	}
}

// TestSyncChangesNothing: what cannot be read or used leaves all as it is, is
// told once, and passes by itself.
func TestSyncChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(*gateway)
		code        int
		words       string
	}{
		"secrets away": {func(g *gateway) { g.cloud.spoil("secretsmanager", status(500)) }, func(g *gateway) { g.cloud.spoil("secretsmanager", nil) }, exitWaiting, "reading secret"},
		"imds away":    {func(g *gateway) { g.cloud.spoil("imds", status(404)) }, func(g *gateway) { g.cloud.spoil("imds", nil) }, exitWaiting, "metadata service"},
		"denied":       {func(g *gateway) { g.cloud.spoil("secretsmanager", status(403)) }, func(g *gateway) { g.cloud.spoil("secretsmanager", nil) }, exitWaiting, "reading secret"},
		"secret gone":  {func(g *gateway) { clear(g.cloud.secrets) }, func(g *gateway) { g.publishAgain(1) }, exitWaiting, "ResourceNotFoundException"},
		"bad publish":  {func(g *gateway) { g.cloud.secrets["vpn/office/server"] = []byte("{}") }, func(g *gateway) { g.publishAgain(1) }, exitRefused, "opening secrets"},
		"half publish": {func(g *gateway) {
			g.cloud.secrets[bundle.ShardID("vpn/office", 0)] = []byte("x")
			g.clock = glanceFor + time.Minute
		}, func(g *gateway) { g.publishAgain(1) }, exitRefused, "opening secrets"},
		"bad user-data": {func(g *gateway) { g.cloud.launch("#vpnami\nrole: vpm\n") }, func(g *gateway) { g.cloud.launch(vpnDocument) }, exitRefused, "vpm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, vpnDocument)
			g.want(g.boot(), Ready, "")
			g.systemd.taken()
			g.sync(exitReady, "nothing new")
			before := stamps(t, g.machine)
			told := g.console.Len()
			c.spoil(g)
			end := g.sync(c.code, c.words)
			if end.Cause == "" || end.Advice == "" || !end.Looked.Before(end.Tried) {
				t.Errorf("got %+v", end)
			}
			if said := g.console.String()[told:]; !strings.Contains(said, "sync: nothing is changed: ") || !strings.Contains(said, c.words) {
				t.Errorf("the console says %q", said)
			}
			told = g.console.Len()
			g.sync(c.code, c.words)
			if g.console.Len() != told {
				t.Errorf("told again: %q", g.console.String()[told:])
			}
			after := stamps(t, g.machine)
			for _, path := range []string{g.machine.layout.sync(), g.machine.layout.state()} {
				delete(before, path)
				delete(after, path)
			}
			if diff := cmp.Diff(before, after); diff != "" || len(g.systemd.taken()) > 0 {
				t.Errorf("something is changed: %s", diff)
			}
			c.mend(g)
			if end := g.sync(exitReady, "nothing new"); end.Cause != "" {
				t.Errorf("got %+v", end)
			}
			if !strings.Contains(g.console.String()[told:], "sync: works again") {
				t.Errorf("the console says %q", g.console.String()[told:])
			}
		})
	}
}

// TestSyncRollsBack: what is good on paper and does not work ends in the last
// good state, once; and an older list lets nobody in again.
func TestSyncRollsBack(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	good, _ := g.machine.store.read(g.machine.layout.current())
	server := g.people.Server()
	server.TLSCryptV2 = g.people.server.TLSCryptV2
	older := g.people.server
	g.people.server = server
	g.publishAgain(2)
	failing := errors.New("connecting: refused")
	g.proving = func() error {
		if now, _ := g.machine.store.read(g.machine.layout.current()); now.Files != good.Files {
			return failing
		}
		return nil
	}
	g.sync(exitDegraded, "connecting: refused")
	proofs := g.proofs
	g.sync(exitDegraded, "nothing new since, and tried at")
	if g.proofs != proofs {
		t.Error("proven again at once")
	}
	if now, _ := g.machine.store.read(g.machine.layout.current()); now != good {
		t.Errorf("in force is %+v, want %+v", now, good)
	}
	g.systemd.taken()
	g.clock = retryAfter + time.Minute
	g.sync(exitDegraded, "not tried again")
	g.clock = 2 * g.clock
	told := g.console.Len()
	g.sync(exitDegraded, "not tried again")
	if jobs := g.systemd.taken(); len(jobs) > 0 || g.console.Len() != told {
		t.Errorf("tried again: %q, %q", jobs, g.console.String()[told:])
	}
	g.clock = 0
	g.proving, g.people.server = nil, older
	g.publishAgain(3)
	g.sync(exitReady, "brought in generation 3")

	g.people.access.CRL = g.people.CRL(5, big.NewInt(99))
	g.publishAgain(4)
	g.sync(exitReady, "brought in generation 4")
	g.people.access.CRL = g.people.CRL(4)
	g.publishAgain(5)
	g.sync(exitDegraded, "it is an older one")
	if _, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", "99")); err != nil {
		t.Error(err)
	}
}

// TestSyncOfTags: a gateway that was launched by its tags becomes what they say.
func TestSyncOfTags(t *testing.T) {
	g := newGateway(t, "")
	delete(g.cloud.metadata, "user-data")
	g.cloud.metadata["meta-data/tags/instance"] = "vpnami:role\nvpnami:secret"
	g.cloud.metadata["meta-data/tags/instance/vpnami:role"] = "vpn"
	g.cloud.metadata["meta-data/tags/instance/vpnami:secret"] = "vpn/office"
	g.want(g.boot(), Ready, "")
	g.cloud.metadata["meta-data/tags/instance"] = "vpnami:role"
	g.cloud.metadata["meta-data/tags/instance/vpnami:role"] = "step"
	g.sync(exitReady, "ready: role=step")
	g.sync(exitReady, "a bastion reads no secret")
}

// TestSyncTriesAgain: a revocation whose proof failed for a while is brought in
// without anybody's doing, however it ended before.
func TestSyncTriesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		both bool // the proof of the last good state fails as well
		code int
	}{"the last good state works": {false, exitDegraded}, "nothing works": {true, exitRefused}} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, vpnDocument)
			g.want(g.boot(), Ready, "")
			good, _ := g.machine.store.read(g.machine.layout.current())
			g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
			g.publishAgain(2)
			g.proving = func() error {
				if now, _ := g.machine.store.read(g.machine.layout.current()); c.both || now.Files != good.Files {
					return errors.New("connecting: no answer")
				}
				return nil
			}
			g.systemd.taken()
			g.sync(c.code, "no answer")
			g.proving = nil
			g.sync(c.code, "nothing new since, and tried at")
			g.clock = retryAfter + time.Minute
			g.sync(exitReady, "brought in generation 2")
			if _, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", "666")); err != nil {
				t.Error(err)
			}
			if jobs := g.systemd.taken(); len(jobs) > 0 {
				t.Errorf("restarts %q", jobs)
			}
		})
	}
}

// TestSyncWaitsForTheRun: before the gateway stands, the run alone works on it.
func TestSyncWaitsForTheRun(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.sync(exitWaiting, "the first run is not over")
	g.cloud.spoil("secretsmanager", status(500))
	g.want(g.boot(), Waiting, "reading secret")
	g.cloud.spoil("secretsmanager", nil)
	g.sync(exitWaiting, "the instance is waiting")
	g.want(g.boot(), Ready, "")
	g.machine.reboot(t)
	g.sync(exitWaiting, "the run of this boot is not over")
	if g.proofs != 1 {
		t.Errorf("%d proofs", g.proofs)
	}

	step := newGateway(t, "#vpnami\nrole: step\n")
	step.want(step.boot(), Ready, "")
	asked := step.cloud.asked("imds")
	step.sync(exitReady, "a bastion reads no secret")
	if step.cloud.asked("imds") != asked {
		t.Error("a bastion asks")
	}
}

// TestLock: one at a time; and a program that has ended holds nothing.
func TestLock(t *testing.T) {
	g := newGateway(t, vpnDocument)
	release, err := g.machine.layout.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan Result)
	go func() { done <- g.program().run(t.Context()) }()
	select {
	case <-done:
		t.Fatal("it runs beside another")
	case <-time.After(5 * lockPoll):
	}
	release()
	g.want(<-done, Ready, "")
}
