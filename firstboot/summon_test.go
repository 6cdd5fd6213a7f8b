// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"testing"
)

// TestSummon: the start of the proof's client is begun before that of a daemon
// that does not run, and the proof is that client's; beside a daemon that runs,
// which may be on other files, nobody waits for it.
func TestSummon(t *testing.T) {
	m := newMachine(t)
	systemd := newUnits(m.layout)
	up := &starter{units: systemd, store: m.store, lastWords: systemd.lastWords}
	place(t, m, "one")
	proofs, running := 0, ""
	systemd.probe = func() error {
		proofs++
		running = systemd.states[openvpnUnit]
		return nil
	}
	if err := up.serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if up.summoned == nil || proofs != 0 {
		t.Errorf("summoned %v, %d proofs", up.summoned != nil, proofs)
	}
	if err := up.prove(t.Context()); err != nil || proofs != 1 || running != "active" || up.summoned != nil {
		t.Errorf("got %v, %d proofs with the daemon %q, summoned still %v", err, proofs, running, up.summoned != nil)
	}
	// The daemon runs, and is started again on other files.
	place(t, m, "two")
	if err := up.serve(t.Context()); err != nil || up.summoned != nil || proofs != 1 {
		t.Errorf("got %v, summoned %v, %d proofs", err, up.summoned != nil, proofs)
	}
	if err := up.prove(t.Context()); err != nil || proofs != 2 {
		t.Errorf("got %v, %d proofs", err, proofs)
	}
	// Where the daemon does not start, whoever waits for it is sent away.
	systemd.fail(openvpnUnit)
	if err := up.serve(t.Context()); err == nil || systemd.states[probeUnit] != "activating" {
		t.Errorf("got %v, the client is %s", err, systemd.states[probeUnit])
	}
	if err := up.dismiss(t.Context()); err != nil || systemd.states[probeUnit] != "inactive" || proofs != 2 {
		t.Errorf("got %v, the client is %s, %d proofs", err, systemd.states[probeUnit], proofs)
	}
}
