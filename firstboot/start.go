// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// units is what start needs of *dbus.Conn.
type units interface {
	StartUnitContext(ctx context.Context, name, mode string, result chan<- string) (int, error)
	RestartUnitContext(ctx context.Context, name, mode string, result chan<- string) (int, error)
	ReloadOrRestartUnitContext(ctx context.Context, name, mode string, result chan<- string) (int, error)
	StopUnitContext(ctx context.Context, name, mode string, result chan<- string) (int, error)
	GetUnitPropertyContext(ctx context.Context, unit, property string) (*dbus.Property, error)
	GetUnitTypePropertyContext(ctx context.Context, unit, unitType, property string) (*dbus.Property, error)
	KillUnitWithTarget(ctx context.Context, name string, target dbus.Who, signal int32) error
}

// job is one of the methods of units.
type job func(ctx context.Context, name, mode string, result chan<- string) (int, error)

// job queues a job and waits for systemd's word on how it ended.
func (s *starter) job(ctx context.Context, verb string, queue job, unit string) error {
	s.doing.note("%s %q: systemd has not finished", verb, unit)
	// The connection's reader blocks on a channel that nobody empties.
	result := make(chan string, 1)
	if _, err := queue(ctx, unit, "replace", result); err != nil {
		return fmt.Errorf("%s %q: %w", verb, unit, err)
	}
	return jobEnded(ctx, verb, unit, result)
}

// jobEnded waits for systemd's word on how a job ended.
func jobEnded(ctx context.Context, verb, unit string, result <-chan string) error {
	select {
	case how := <-result:
		if how != "done" {
			return fmt.Errorf("%s %q: systemd says %q", verb, unit, how)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %q: systemd has not finished: %w", verb, unit, ctx.Err())
	}
}

func (s *starter) isActive(ctx context.Context, unit string) (bool, string, error) {
	property, err := s.units.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err != nil {
		return false, "", fmt.Errorf("asking for the state of %q: %w", unit, err)
	}
	state := strings.Trim(property.Value.String(), "\"")
	return state == "active", state, nil
}

// starter brings the packet filter and the daemon to what lies on the disk.
type starter struct {
	units units
	store store
	// lastWords returns what a unit has logged last, for the cause.
	lastWords func(ctx context.Context, unit string) string
	doing     *doing
	// begun and summoned are where systemd tells how the starts of the daemon and
	// of the proof's client ended, which were begun before the packet filter was
	// loaded.
	begun, summoned <-chan string
	// asked is when the client of the last proof was asked to leave.
	asked time.Time
}

// filter loads the rules where they are not loaded.
func (s *starter) filter(ctx context.Context) error {
	if loaded, err := s.filtering(ctx); err != nil || loaded {
		return err
	}
	return s.load(ctx, nil)
}

// filtering tells whether the rules that lie on the disk are loaded.
func (s *starter) filtering(ctx context.Context) (bool, error) {
	s.doing.note("asking for the state of %q: systemd has not answered", filterUnit)
	active, _, err := s.isActive(ctx, filterUnit)
	return active && !slices.Contains(s.store.waiting(), filterUnit), err
}

// load loads the rules, or waits until they are, where that was begun.
func (s *starter) load(ctx context.Context, begun <-chan string) error {
	// A reload swaps the rules in one step. A restart would do so as well, and
	// restart openvpn, which requires the unit.
	if err := s.end(ctx, "reloading", s.units.ReloadOrRestartUnitContext, filterUnit, begun); err != nil {
		return fmt.Errorf("%w%s", err, s.lastWords(ctx, filterUnit))
	}
	if active, state, err := s.isActive(ctx, filterUnit); err != nil || !active {
		return errors.Join(fmt.Errorf("loading the packet filter: %q is %s", filterUnit, state), err)
	}
	return s.store.taken(filterUnit)
}

// serve loads the rules and starts the daemon, where they are not; and the
// proof's client beside them, which waits for both. systemd makes the sandboxes
// of the two while the rules are loaded, which takes as long: the daemon's unit
// becomes OpenVPN only when they are (vpnami-firstboot check-readable).
func (s *starter) serve(ctx context.Context) error {
	loaded, err := s.filtering(ctx)
	if err != nil {
		return err
	}
	s.begun, s.summoned = nil, nil
	var loading <-chan string
	if running, _, err := s.isActive(ctx, openvpnUnit); err == nil && !running {
		if !loaded {
			// The daemon's before the rules': systemd lets a start wait for what is
			// queued for a unit that it comes after. The client's last, nobody waits
			// for it yet.
			s.begun = begin(ctx, s.units.RestartUnitContext, openvpnUnit)
			loading = begin(ctx, s.units.ReloadOrRestartUnitContext, filterUnit)
		}
		s.summoned = begin(ctx, s.units.RestartUnitContext, probeUnit)
	}
	if !loaded {
		if err := s.load(ctx, loading); err != nil {
			return err
		}
	}
	return s.openvpn(ctx)
}

// begin queues a job, and returns where systemd tells how it ended; nil where it
// could not be queued, which end tells when it tries again.
func begin(ctx context.Context, queue job, unit string) <-chan string {
	// The connection's reader blocks on a channel that nobody empties.
	result := make(chan string, 1)
	if _, err := queue(ctx, unit, "replace", result); err != nil {
		return nil
	}
	return result
}

// end waits for the end of a job that was begun, or else does the job.
func (s *starter) end(ctx context.Context, verb string, queue job, unit string, begun <-chan string) error {
	if begun == nil {
		return s.job(ctx, verb, queue, unit)
	}
	s.doing.note("%s %q: systemd has not finished", verb, unit)
	return jobEnded(ctx, verb, unit, begun)
}

// openvpn starts the daemon, or starts it again when it runs on other files.
func (s *starter) openvpn(ctx context.Context) error {
	begun := s.begun
	s.begun = nil
	if begun == nil {
		s.doing.note("asking for the state of %q: systemd has not answered", openvpnUnit)
		active, _, err := s.isActive(ctx, openvpnUnit)
		if err != nil {
			return err
		}
		if active && !slices.Contains(s.store.waiting(), openvpnUnit) {
			return s.serving(ctx)
		}
	}
	// Before it starts, the unit checks as its own user that the revoked set
	// can be read (vpnami-firstboot check-readable).
	if err := s.end(ctx, "starting", s.units.RestartUnitContext, openvpnUnit, begun); err != nil {
		return refusing(fmt.Errorf("%w%s", err, s.lastWords(ctx, openvpnUnit)), "look at \"journalctl -u %s\"", openvpnUnit)
	}
	if err := s.serving(ctx); err != nil {
		return err
	}
	return s.store.taken(openvpnUnit)
}

const (
	// serveWithin is for opening the port and the tunnel device, some
	// milliseconds, on a machine without hardware virtualisation.
	serveWithin = 15 * time.Second
	// servePoll is well below what a start takes (10 ms); to look takes systemd
	// a tenth of it.
	servePoll = 2 * time.Millisecond
)

// serving waits until the daemon says that it serves. OpenVPN tells systemd
// that it is ready before it opens its port and the tunnel device, so that an
// active unit may be about to fail; its status text tells the rest.
func (s *starter) serving(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, serveWithin)
	defer cancel()
	if err := s.connected(ctx, openvpnUnit); err != nil {
		return refusing(fmt.Errorf("starting the daemon: %w%s", err, s.lastWords(ctx, openvpnUnit)), "look at \"journalctl -u %s\"", openvpnUnit)
	}
	return nil
}

// connected waits until an OpenVPN, server or client, says that all is done.
func (s *starter) connected(ctx context.Context, unit string) error {
	s.doing.note("%q is not up yet", unit)
	look := time.NewTicker(servePoll)
	defer look.Stop()
	for {
		text, err := s.units.GetUnitTypePropertyContext(ctx, unit, "Service", "StatusText")
		if err != nil {
			return fmt.Errorf("asking for the status of %q: %w", unit, err)
		}
		if strings.Trim(text.Value.String(), "\"") == "Initialization Sequence Completed" {
			return nil
		}
		active, state, err := s.isActive(ctx, unit)
		if err != nil {
			return err
		}
		if !active {
			return fmt.Errorf("%q is %s", unit, state)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%q is not up yet, its status is %s: %w", unit, text.Value, ctx.Err())
		}
	}
}

// stop makes sure that the daemon does not run, and that systemd does
// not start it again. A unit whose start is queued (it waits for the network)
// is as inactive as one that nobody wants: the stop, which replaces the start,
// is asked for whatever the state.
func (s *starter) stop(ctx context.Context) error {
	return s.job(ctx, "stopping", s.units.StopUnitContext, openvpnUnit)
}

// maxWords keeps a cause to a line.
const maxWords = 200

// wordsWithin: the journal's last lines are in memory.
const wordsWithin = 2 * time.Second

// journalWords returns the telling line of a unit's last log, in parentheses.
func journalWords(ctx context.Context, unit string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wordsWithin)
	defer cancel()
	// 30 lines hold one failed start of OpenVPN at verb 3.
	output, err := exec.CommandContext(ctx, "journalctl", "--unit", unit, "--boot", "--lines", "30", "--output", "cat", "--no-pager").Output()
	if err != nil {
		return ""
	}
	return inParentheses(tellingLine(string(output)))
}

func inParentheses(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}

// isClosing tells of the remarks with which OpenVPN and systemd end, whatever
// it was.
func isClosing(lower string) bool {
	return strings.Contains(lower, ".service: ") || slices.ContainsFunc(
		[]string{"exiting due to fatal error", "failed to start", "tls error: tls handshake failed", "sig"},
		func(end string) bool { return strings.HasPrefix(lower, end) })
}

// tellingLine finds the line that says why: the last that sounds like an error
// and is not a closing remark.
func tellingLine(log string) string {
	telling := ""
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		lower := strings.ToLower(line)
		if isClosing(lower) {
			continue
		}
		for _, word := range []string{"error", "cannot", "failed", "refused", "denied", "not permitted", "no such", "in use", "auth_failed", "options error"} {
			if strings.Contains(lower, word) {
				telling = line
				break
			}
		}
	}
	if len(telling) > maxWords {
		telling = telling[:maxWords] + "..."
	}
	return telling
}
