// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

const (
	// proveWithin: a handshake on the machine itself takes some 40 ms, and
	// OpenVPN repeats a lost packet after 2 s.
	proveWithin = 10 * time.Second
	// farewell is how long the client may take to leave before it is killed. It
	// tells the server at once, within a millisecond or two (2.6 and later, over
	// the control channel), and then waits a second for nothing.
	farewell = 50 * time.Millisecond
)

// prove lets a real OpenVPN client connect to the daemon, as the probe of the
// secret. That the daemon's unit is active says that a process runs; this says
// that somebody with a certificate gets in. The client is a unit of its own
// (vpnami-probe.service), so that this program needs no right to become the
// daemon's user; before it connects, that unit checks as that user that the
// revoked set can be read.
func (s *starter) prove(ctx context.Context) error {
	begun := s.summoned
	s.summoned = nil
	err := s.end(ctx, "starting", s.units.RestartUnitContext, probeUnit, begun)
	if err == nil {
		err = s.connected(ctx, probeUnit)
	}
	if err != nil {
		return refusing(fmt.Errorf("connecting to the daemon as a client: %w%s", err, s.lastWords(ctx, probeUnit)),
			"look at \"journalctl -u %s -u %s\"; the daemon does not stay up unproven", openvpnUnit, probeUnit)
	}
	// It takes its leave while the run goes on; dismiss sees it gone.
	s.asked = time.Now()
	if err := s.units.KillUnitWithTarget(ctx, probeUnit, dbus.Main, int32(unix.SIGTERM)); err != nil {
		return fmt.Errorf("asking the proving client to leave: %w", err)
	}
	return nil
}

// dismiss returns when no client of a proof is left on the machine. One whose
// proof failed has nobody to take leave of.
func (s *starter) dismiss(ctx context.Context) error {
	// What is over must be so even where the run's own time is.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proveWithin)
	defer cancel()
	leaving := time.NewTimer(time.Until(s.asked.Add(farewell)))
	defer leaving.Stop()
	look := time.NewTicker(servePoll)
	defer look.Stop()
	for {
		_, state, err := s.isActive(ctx, probeUnit)
		if err != nil || state == "inactive" || state == "failed" {
			return err
		}
		select {
		case <-look.C:
		case <-leaving.C:
			// The unit's KillSignal is KILL: it has been asked before.
			return s.job(ctx, "ending", s.units.StopUnitContext, probeUnit)
		}
	}
}
