// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Migrating tells whether the gateway takes profiles of another program, and
// so none that has a key for tls-crypt-v2 alone.
func (f Folder) Migrating() bool { return f.mark.Wrapping == bundle.NoWrapping }

// SetWrapping opens or closes the window in which the gateway takes profiles of
// another program: the next publish does so.
func (f Folder) SetWrapping(now time.Time, wrapping bundle.Wrapping) (Folder, error) {
	action := "migration-close"
	if wrapping == bundle.NoWrapping {
		action = "migration-open"
	}
	changed := f.mark
	changed.Wrapping = wrapping
	return f.commit(now, changed, named{}, Entry{Action: action, Name: f.mark.Name})
}

// NewProfile is what profiles made now are to connect to: both kinds of
// gateway, while certificates are good that another program handed out.
func (f Folder) NewProfile(now time.Time) (Profile, error) {
	if f.Migrating() {
		return Both, nil
	}
	// To read the roster for nothing is what takes longest in a large authority.
	if !now.Before(f.mark.ImportedUntil) {
		return Wrapped, nil
	}
	old, err := f.Only(now, Unwrapped)
	if err != nil || len(old) == 0 {
		return Wrapped, err
	}
	return Both, nil
}

// Only are the people all of whose good certificates have profiles of one kind.
func (f Folder) Only(now time.Time, kind Profile) ([]Person, error) {
	people, err := f.People()
	if err != nil {
		return nil, err
	}
	standing, err := f.Standing(now)
	if err != nil {
		return nil, err
	}
	var only []Person
	for _, p := range people {
		live := standing.Live(p)
		others := 0
		for _, c := range live {
			// One that has not begun yet connects to nothing.
			if c.Profile != kind && standing.State(c) == Good {
				others++
			}
		}
		if len(live) > 0 && others == 0 {
			only = append(only, p)
		}
	}
	return only, nil
}
