// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// describe says in words what the publish changes, and whom it removes; the latter only
// where what the head names is known.
func describe(server bundle.Server, access bundle.Access, there remote) (lines, removed []string) {
	lines = describeServer(server, there)
	broken := there.accessErr != nil && !there.empty()
	if broken {
		lines = append(lines, fmt.Sprintf("repair   what is there is not whole (%v): it is written anew", there.accessErr))
	}
	before, named := there.access, !broken || there.access.CRL != nil
	switch {
	case named:
	case there.guessed.CRL == nil:
		return append(lines, fmt.Sprintf("people   %s: whom it had cannot be read", some(namesIn(access.Roster)))), nil
	default:
		before = there.guessed
	}
	people, gone := describePeople(access.Roster, before.Roster)
	lines = append(append(lines, people...), describeRevoked(access.Revoked(), before.Revoked())...)
	if list := access.CRL; before.CRL != nil && before.CRL.Number.Cmp(list.Number) != 0 {
		lines = append(lines, fmt.Sprintf("CRL      number %s, until %s", list.Number, day(list.NextUpdate)))
	}
	if !named {
		return lines, nil
	}
	return lines, gone
}

func namesIn(roster []bundle.Person) []string {
	names := make([]string, len(roster))
	for i, p := range roster {
		names[i] = p.Name
	}
	return names
}

// describePeople says in words who is let in from now on, who is not any more, and what
// else changes of whom.
func describePeople(roster, before []bundle.Person) (lines, removed []string) {
	old := map[string]bundle.Person{}
	for _, p := range before {
		old[p.Name] = p
	}
	var added, changes []string
	changed := map[string][]string{} // whose, by what it is
	for _, p := range roster {
		was, known := old[p.Name]
		delete(old, p.Name)
		if !known {
			added = append(added, p.Name)
			continue
		}
		if what := strings.Join(changesOf(p, was), ", "); what != "" {
			if changed[what] == nil {
				changes = append(changes, what)
			}
			changed[what] = append(changed[what], p.Name)
		}
	}
	removed = slices.Sorted(maps.Keys(old))
	if len(added) > 0 {
		lines = append(lines, "added    "+some(added))
	}
	for i, what := range changes {
		if i == mostChanges && len(changes) > mostChanges+1 {
			var rest []string
			for _, what := range changes[i:] {
				rest = append(rest, changed[what]...)
			}
			lines = append(lines, "changed  "+some(rest))
			break
		}
		lines = append(lines, fmt.Sprintf("changed  %s: %s", some(changed[what]), what))
	}
	if len(removed) > 0 {
		lines = append(lines, "removed  "+some(removed))
	}
	return lines, removed
}

// mostChanges is how many different changes of people are told of, each in a line.
const mostChanges = 20

// changesOf says in words what of a person differs from what was.
func changesOf(p, was bundle.Person) []string {
	var what []string
	moved := func(name, from, to string) {
		if from != to {
			what = append(what, fmt.Sprintf("%s from %s to %s", name, from, to))
		}
	}
	address := func(p bundle.Person) string {
		if !p.Address.IsValid() {
			return "none"
		}
		return p.Address.String()
	}
	groups := func(p bundle.Person) string { return cmp.Or(strings.Join(p.Groups, " "), "none") }
	moved("address", address(was), address(p))
	moved("groups", groups(was), groups(p))
	moved("note", fmt.Sprintf("%q", was.Note), fmt.Sprintf("%q", p.Note)) // without what turns or hides text: it is checked
	moved("imported name", fmt.Sprintf("%+q", was.CommonName), fmt.Sprintf("%+q", p.CommonName))
	if n := len(lackingSerials(p.Serials, was.Serials)); n > 0 {
		what = append(what, plural(n, "certificate", "certificates")+" more")
	}
	if n := len(lackingSerials(was.Serials, p.Serials)); n > 0 {
		what = append(what, plural(n, "certificate", "certificates")+" fewer")
	}
	return what
}

// describeRevoked says in words what else is revoked, and what is no more: what has ended
// falls out.
func describeRevoked(now, before []*big.Int) []string {
	added, gone := len(lackingSerials(now, before)), len(lackingSerials(before, now))
	if added+gone == 0 {
		return nil
	}
	line := fmt.Sprintf("revoked  %s, %d before", plural(len(now), "certificate", "certificates"), len(before))
	if gone > 0 {
		line += fmt.Sprintf(": %d more, and %d fell out", added, gone)
	}
	return []string{line}
}

// lackingSerials are those of some serials that others have not.
func lackingSerials(some, others []*big.Int) []*big.Int {
	has := make(map[string]bool, len(others))
	for _, serial := range others {
		has[serial.String()] = true
	}
	return slices.DeleteFunc(slices.Clone(some), func(serial *big.Int) bool { return has[serial.String()] })
}

// describeServer says in words what changes of the gateway's own.
func describeServer(server bundle.Server, there remote) []string {
	named := fmt.Sprintf("%s, until %s", shown(server.Certificate.Subject.CommonName), day(server.Certificate.NotAfter))
	if there.openedErr != nil {
		return []string{"server   " + named}
	}
	var lines []string
	if !there.opened.Certificate.Equal(server.Certificate) {
		lines = append(lines, "server   a new certificate: "+named)
	}
	switch server.Wrapping {
	case there.opened.Wrapping:
	case bundle.NoWrapping:
		lines = append(lines, "server   the window for old profiles opens: without tls-crypt-v2, which profiles made before it have")
	default:
		lines = append(lines, "server   the window for old profiles closes: with tls-crypt-v2 again")
	}
	added, gone := lacking(server.CA, there.opened.CA), lacking(there.opened.CA, server.CA)
	for _, ca := range added {
		lines = append(lines, fmt.Sprintf("server   one more CA: %s, until %s", shown(ca.Subject.CommonName), day(ca.NotAfter)))
	}
	for _, ca := range gone {
		lines = append(lines, fmt.Sprintf("server   no longer the CA %s, until %s: its certificates connect no more", shown(ca.Subject.CommonName), day(ca.NotAfter)))
	}
	if len(lines) == 0 && server.Generation != there.opened.Generation {
		lines = append(lines, "server   other keys")
	}
	return lines
}

// lacking are those of some certificates that others have not.
func lacking(some, others []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(some), func(c *x509.Certificate) bool { return slices.ContainsFunc(others, c.Equal) })
}

// percent is a share from 0 to 1, never as less than it is.
func percent(share float64) string {
	if share < 0.01 {
		return "less than 1 %"
	}
	return fmt.Sprintf("%.0f %%", math.Ceil(share*100))
}
