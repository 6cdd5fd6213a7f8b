// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"slices"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// stateSoon is a good certificate near its end; the other states are those of
// [authority.State], and stateNone.
const (
	stateSoon = "ends soon"
	stateNone = "no certificate"
)

// stateOf is how a certificate stands, in a word.
func stateOf(standing authority.Standing, c authority.Issued, now time.Time) string {
	state := standing.State(c)
	if state == authority.Good && now.After(c.NotAfter.Add(-bundle.EndsSoon)) {
		return stateSoon
	}
	return string(state)
}

// standingOf is how the certificates of people stand, and what is not known of them.
func standingOf(folder authority.Folder, now time.Time, people ...authority.Person) (standing authority.Standing, doubts []error, err error) {
	standing, err = folder.Standing(now)
	listed := folder.CheckListed()
	if listed != nil {
		doubts = append(doubts, listed)
	}
	if unread := standing.Unread(people...); unread != nil && (listed == nil || unread.Error() != listed.Error()) {
		doubts = append(doubts, unread)
	}
	return standing, doubts, err
}

// everybody is who is in the roster, and [standingOf] them.
func everybody(folder authority.Folder, now time.Time) (people []authority.Person, standing authority.Standing, doubts []error, err error) {
	if people, err = folder.People(); err != nil {
		return nil, authority.Standing{}, nil, err
	}
	standing, doubts, err = standingOf(folder, now, people...)
	return people, standing, doubts, err
}

// look reads what several files have, and says what is in doubt. Another command may
// write meanwhile: what fails, or is in doubt, is read once more while none does.
func (d *desk) look(folder authority.Folder, read func(authority.Folder) (doubts []error, err error)) error {
	doubts, err := read(folder)
	if err != nil || len(doubts) > 0 {
		err = folder.Quietly(func(current authority.Folder) (err error) {
			doubts, err = read(current)
			return err
		})
	}
	for _, doubt := range doubts {
		d.warn("%v", doubt)
	}
	return err
}

// early tells of a certificate that nobody can come in with yet: it was made while the
// clock was ahead.
func early(standing authority.Standing, c authority.Issued) bool {
	return standing.State(c) == authority.NotYet
}

// abandoned tells of a certificate of a CA in whose place another was made before it
// began.
func abandoned(standing authority.Standing, c authority.Issued) bool {
	return standing.Abandoned(c) && standing.State(c) != authority.Revoked
}

// whose are the names of people whose foremost certificate is such.
func whose(standing authority.Standing, people []authority.Person, is func(authority.Standing, authority.Issued) bool) []string {
	var names []string
	for _, p := range people {
		if c, ok := foremost(standing, p); ok && is(standing, c) {
			names = append(names, p.Name)
		}
	}
	return names
}

// foremost is the certificate that tells how a person stands: of those in force
// the one issued last, whose profile is the one in use, else the one whose revocation
// took the person out, else the one issued last.
// One that easy-rsa signed for longer tells nothing once its profile is refused.
func foremost(standing authority.Standing, p authority.Person) (authority.Issued, bool) {
	live := standing.Live(p)
	begun := slices.DeleteFunc(slices.Clone(live), func(c authority.Issued) bool { return early(standing, c) })
	if len(begun) > 0 {
		return begun[len(begun)-1], true
	}
	if len(live) > 0 {
		return live[len(live)-1], true
	}
	if revoked, _, out := standing.Out(p); out {
		return revoked, true
	}
	return p.Last()
}
