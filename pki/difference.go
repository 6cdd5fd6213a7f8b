// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// describe says in words what the publish changes, and whom it removes.
func describe(server bundle.Server, access bundle.Access, there remote) (lines, removed []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	lines = describeServer(server, there)
	if there.accessErr != nil && !there.empty() {
		say("repair   what is there is not whole (%v): it is written anew", there.accessErr)
		if there.access.CRL == nil {
			return lines, nil
		}
	}
	before := map[string]bundle.Person{}
	for _, p := range there.access.Roster {
		before[p.Name] = p
	}
	var added, changed []string
	for _, p := range access.Roster {
		old, known := before[p.Name]
		switch {
		case !known:
			added = append(added, p.Name)
		case !samePerson(old, p):
			changed = append(changed, p.Name)
		}
		delete(before, p.Name)
	}
	for name := range before {
		removed = append(removed, name)
	}
	slices.Sort(removed)
	for _, group := range []struct {
		what  string
		names []string
	}{{"added  ", added}, {"changed", changed}, {"removed", removed}} {
		if len(group.names) > 0 {
			say("%s  %s", group.what, some(group.names))
		}
	}
	list := access.CRL
	if now, old := len(access.Revoked()), len(there.access.Revoked()); now != old {
		say("revoked  %s, %d before", plural(now, "certificate", "certificates"), old)
	}
	if there.access.CRL != nil && there.access.CRL.Number.Cmp(list.Number) != 0 {
		say("CRL      number %s, until %s", list.Number, day(list.NextUpdate))
	}
	return lines, removed
}

// describeServer says in words what changes of the gateway's own.
func describeServer(server bundle.Server, there remote) []string {
	named := fmt.Sprintf("%s, until %s", server.Certificate.Subject.CommonName, day(server.Certificate.NotAfter))
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
		lines = append(lines, fmt.Sprintf("server   one more CA: %s, until %s", ca.Subject.CommonName, day(ca.NotAfter)))
	}
	for _, ca := range gone {
		lines = append(lines, fmt.Sprintf("server   no longer the CA %s, until %s: its certificates connect no more", ca.Subject.CommonName, day(ca.NotAfter)))
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

func samePerson(a, b bundle.Person) bool {
	return a.Address == b.Address && a.CommonName == b.CommonName && a.Note == b.Note && slices.Equal(a.Groups, b.Groups) &&
		slices.EqualFunc(a.Serials, b.Serials, func(x, y *big.Int) bool { return x.Cmp(y) == 0 })
}
