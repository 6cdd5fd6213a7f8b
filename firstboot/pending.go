// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// waiting names the units that have not taken up yet what lies on the disk. A
// reboot makes them all do so: what another boot wrote means nothing.
func (s store) waiting() []string {
	data, err := os.ReadFile(s.layout.pending())
	if err != nil {
		return nil
	}
	boot, units, _ := strings.Cut(string(data), "\n")
	if boot != s.bootID {
		return nil
	}
	return strings.Fields(units)
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
