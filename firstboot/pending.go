// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// takers are the units that have to take up what is laid down.
func takers() []string { return []string{filterUnit, openvpnUnit} }

// waiting names the units that have not taken up yet what lies on the disk. A
// reboot makes them all do so: what another boot noted means nothing.
func (s store) waiting() []string {
	var units []string
	for _, unit := range takers() {
		if boot, noted, err := readPending(s.layout, unit); err == nil && noted && boot == s.bootID {
			units = append(units, unit)
		}
	}
	return units
}

// readPending tells which boot noted that a unit has something to take up. There
// is a file for each unit: to remove one needs no room on a full disk.
func readPending(l layout, unit string) (boot string, noted bool, err error) {
	data, err := os.ReadFile(l.pending(unit))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("reading whether %q has something to take up: %w", unit, err)
	}
	return strings.TrimSuffix(string(data), "\n"), true, nil
}

// forgetOtherBoots removes what another boot noted: whoever waits for the packet
// filter cannot tell, since a confined unit does not see the boot's id.
func (s store) forgetOtherBoots() error {
	for _, unit := range takers() {
		boot, noted, err := readPending(s.layout, unit)
		if err == nil && noted && boot != s.bootID {
			err = s.strike(unit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// filterWithin is longer than startWithin, in which the rules are loaded or
	// the run has given up.
	filterWithin = startWithin + 5*time.Second
	// filterPoll is well below what loading the rules takes, some 50 ms.
	filterPoll = time.Millisecond
)

// awaitFilter returns when the kernel has the rules that lie on the disk. The
// daemon is started while they are loaded, since its sandbox takes as long; and
// whoever starts it by hand in between waits as well.
func awaitFilter(ctx context.Context, l layout, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	look := time.NewTicker(filterPoll)
	defer look.Stop()
	for {
		if _, noted, err := readPending(l, filterUnit); err != nil || !noted {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the packet filter: the rules in %q were not loaded within %s: %w", l.rules(), within, ctx.Err())
		}
	}
}

// setWaiting notes which units have something to take up, and which have not.
func (s store) setWaiting(units ...string) error {
	for _, unit := range takers() {
		boot, noted, err := readPending(s.layout, unit)
		switch wanted := slices.Contains(units, unit); {
		case wanted && (err != nil || !noted || boot != s.bootID):
			err = replaceFile(s.layout.pending(unit), []byte(s.bootID+"\n"), 0o644)
		case !wanted && (err != nil || noted):
			err = s.strike(unit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// taken notes that a unit has taken up what lies on the disk.
func (s store) taken(unit string) error {
	if !slices.Contains(s.waiting(), unit) {
		return nil
	}
	return s.strike(unit)
}

func (s store) strike(unit string) error {
	if err := os.Remove(s.layout.pending(unit)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("noting that %q took up what was laid down: %w", unit, err)
	}
	return nil
}
