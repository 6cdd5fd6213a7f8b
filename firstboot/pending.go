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

// waiting names the units that have not taken up yet what lies on the disk. A
// reboot makes them all do so: what another boot wrote means nothing.
func (s store) waiting() []string {
	boot, units, err := readPending(s.layout)
	if err != nil || boot != s.bootID {
		return nil
	}
	return units
}

// readPending names the units that have not taken up what a boot wrote: none
// where nothing is noted.
func readPending(l layout) (boot string, units []string, err error) {
	data, err := os.ReadFile(l.pending())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("reading what is not taken up yet: %w", err)
	}
	boot, rest, _ := strings.Cut(string(data), "\n")
	return boot, strings.Fields(rest), nil
}

// forgetOtherBoots removes what another boot wrote: whoever waits for the packet
// filter cannot tell, since a confined unit does not see the boot's id.
func (s store) forgetOtherBoots() error {
	if boot, units, err := readPending(s.layout); err != nil || boot == s.bootID || len(units) == 0 {
		return err
	}
	return s.setWaiting(nil)
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
		_, units, err := readPending(l)
		if err != nil || !slices.Contains(units, filterUnit) {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the packet filter: the rules in %q were not loaded within %s: %w", l.rules(), within, ctx.Err())
		}
	}
}

func (s store) setWaiting(units []string) error {
	if len(units) == 0 {
		if err := os.Remove(s.layout.pending()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("noting what was taken up: %w", err)
		}
		return nil
	}
	return replaceFile(s.layout.pending(), []byte(s.bootID+"\n"+strings.Join(units, "\n")+"\n"), 0o644)
}

// taken notes that a unit has taken up what lies on the disk.
func (s store) taken(unit string) error {
	waiting := s.waiting()
	if !slices.Contains(waiting, unit) {
		return nil
	}
	return s.setWaiting(slices.DeleteFunc(waiting, func(u string) bool { return u == unit }))
}
