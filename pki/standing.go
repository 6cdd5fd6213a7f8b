// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

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

// standing is how the certificates of people stand; what is not known of them is said.
func (d *desk) standing(folder authority.Folder, people ...authority.Person) (authority.Standing, error) {
	standing, err := folder.Standing(d.now())
	listed := folder.CheckListed()
	if listed != nil {
		d.warn("%v", listed)
	}
	if unread := standing.Unread(people...); unread != nil && (listed == nil || unread.Error() != listed.Error()) {
		d.warn("%v", unread)
	}
	return standing, err
}

// everybody opens the authority, and reads who is in its roster and how their
// certificates stand.
func (d *desk) everybody(cmd *cobra.Command) (authority.Folder, []authority.Person, authority.Standing, error) {
	folder, err := d.open(cmd)
	if err != nil {
		return authority.Folder{}, nil, authority.Standing{}, err
	}
	people, err := folder.People()
	if err != nil {
		return authority.Folder{}, nil, authority.Standing{}, err
	}
	standing, err := d.standing(folder, people...)
	return folder, people, standing, err
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
