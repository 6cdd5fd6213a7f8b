// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// mostOff is how far the clock may be off: certificates end by the day.
const mostOff = 24 * time.Hour

// checkClock refuses a clock that AWS's contradicts: who comes in is decided by it,
// and one that is ahead would take out whose certificates seem to have ended.
func checkClock(there remote, now time.Time) error {
	asked := there.server.asked
	if asked.IsZero() {
		asked = there.head.asked
	}
	if off := now.Sub(asked); asked.IsZero() || off.Abs() <= mostOff {
		return nil
	}
	return fmt.Errorf("looking at the clock: this machine says %s, AWS says %s: set it right, and publish then", now.UTC().Format(time.DateTime), asked.UTC().Format(time.DateTime))
}

// checkReplace refuses a publish that would take away what is there: another
// authority's values, or those of a newer copy of the folder.
func checkReplace(server bundle.Server, past authority.Past, prefix string, there remote) error {
	const replace = "; if that is meant, say --replace"
	if there.empty() {
		return nil
	}
	if there.openedErr != nil {
		if there.server.value.IsZero() {
			return nil // a publish broke off before its first secret
		}
		return fmt.Errorf("publishing under %q: what is there now is none of vpnami's (%w)"+replace, prefix, there.openedErr)
	}
	if !slices.ContainsFunc(there.opened.CA, past.Had) {
		return fmt.Errorf("publishing under %q: the authority %q is there now, with another CA: everybody who connects today would be locked out"+replace, prefix, there.opened.Authority)
	}
	for _, ca := range there.opened.CA {
		if !past.Had(ca) || past.Newer(ca) {
			return fmt.Errorf("publishing under %q: a CA is there that this folder does not have in force (%q, until %s): this folder, or its authority.json, is an old copy, from before a roll-over, and would lock out who has a certificate of it: publish from the newer one"+replace,
				prefix, ca.Subject.CommonName, day(ca.NotAfter))
		}
	}
	if len(server.CA) > 1 && slices.ContainsFunc(there.opened.CA, server.CA[0].Equal) && !slices.ContainsFunc(there.opened.CA, server.CA[1].Equal) {
		return fmt.Errorf("publishing under %q: the CA %q is no longer there: a newer copy of this folder has ended the roll-over, and this one would let in again who was left: publish from the newer one, or end it here as well (\"rollover end\")"+replace, prefix, server.CA[1].Subject.CommonName)
	}
	return nil
}

// mostNamed is how many names or serials a person copies.
const mostNamed = 100

// checkRevoked refuses to let in again who is revoked there, also with --replace:
// what is there was signed by a CA in force here, so it can be revoked here as well.
func checkRevoked(server bundle.Server, past authority.Past, prefix string, there remote) error {
	var names, serials toRevoke
	for _, before := range there.lists() {
		if !slices.ContainsFunc(server.CA, func(ca *x509.Certificate) bool { return before.CheckSignatureFrom(ca) == nil }) {
			continue
		}
		for _, entry := range before.RevokedCertificateEntries {
			reason := authority.ReasonOf(entry.ReasonCode)
			name, known := past.Owner(entry.SerialNumber)
			switch {
			case past.TookBack(entry.SerialNumber):
			case known && reason != authority.Superseded:
				// They were taken out, and may have been renewed here since.
				names.add(name, reason)
			default:
				serials.add("--serial "+entry.SerialNumber.String(), reason)
			}
		}
	}
	var commands []string
	if len(names.what) > 0 {
		commands = append(commands, names.command("vpnami-pki revoke"))
	}
	if len(serials.what) > 0 {
		commands = append(commands, serials.command("vpnami-pki revoke --foreign"))
	}
	if len(commands) == 0 {
		return nil
	}
	return fmt.Errorf("publishing under %q: %s revoked there and not in this folder, which is an old copy or lost what was revoked: publish from the newest copy; if this is it, revoke here as well: %s",
		prefix, plural(names.n+serials.n, "certificate is", "certificates are"), strings.Join(commands, ", and "))
}

// toRevoke is what one command revokes.
type toRevoke struct {
	what   []string
	n      int // of certificates
	reason authority.Reason
}

func (r *toRevoke) add(what string, reason authority.Reason) {
	if r.n++; !slices.Contains(r.what, what) {
		r.what = append(r.what, what)
	}
	if reason == authority.KeyCompromise {
		r.reason = reason // of one is of all: that shuts out more
	}
}

func (r *toRevoke) command(verb string) string {
	return fmt.Sprintf("\"%s --reason %s %s\"", verb, r.reason, strings.Join(r.what[:min(len(r.what), mostNamed)], " "))
}

// checkForgotten refuses to take out whom nobody took back: whose file in people/ is
// gone, or is an older one. Whose certificate has ended is in the roster still.
func checkForgotten(past authority.Past, prefix string, there remote) error {
	for _, p := range there.roster() {
		for _, serial := range p.Serials {
			if !past.Gave(serial) && !past.TookBack(serial) {
				return fmt.Errorf("publishing under %q: %q is let in there with the certificate %s, which the roster of this folder does not have and nobody took back: this folder is an old copy, or lost people/%s.json: put that back from your newest copy, or revoke the certificate; if they are to be taken out without, say --replace", prefix, p.Name, serial, strings.ToLower(p.Name))
			}
		}
	}
	return nil
}

// checkNumbers refuses a list that no gateway takes which has had the one there: a
// lower number under the same CA. To say --replace would not help.
func checkNumbers(server bundle.Server, access bundle.Access, prefix string, there remote) error {
	for _, before := range there.lists() {
		for i, ours := range access.CRLs() {
			// A list of another CA says nothing of this one's.
			if before.CheckSignatureFrom(server.CA[i]) == nil && before.Number.Cmp(ours.Number) > 0 {
				return fmt.Errorf("publishing under %q: the CRL there has number %s, this folder's has %s: this folder is an old copy, and running gateways would refuse it, now and later; if it is the newest that you have, sign above that first: \"vpnami-pki crl --above %s\"", prefix, before.Number, ours.Number, before.Number)
			}
		}
	}
	return nil
}

// checkCopy refuses a publish over that of another copy of the folder. The number
// of the CRL does not tell those who were added since, nor does the generation:
// that of this folder's last publishes may be higher, where they broke off, or went
// to another account.
func (p publication) checkCopy(there remote, past authority.Past, last authority.Publish) error {
	if len(p.changes) == 0 || there.isOf(last) {
		return nil
	}
	lost := notTakenOut(p.removed, past, there.access.Roster)
	loses := "would undo what it changed"
	switch {
	case len(lost) > 0:
		loses = "would remove " + some(lost)
	case there.accessErr != nil && there.access.CRL == nil:
		loses = "might remove people (what is there cannot be read)"
	}
	if last.Generation == 0 {
		return fmt.Errorf("publishing under %q: generation %d is there, and this folder knows of no publish of its own there: another copy of it has published, or its published.json was lost; this one %s: publish from that copy; if this one is meant, say --replace",
			p.prefix, there.generation(), loses)
	}
	return fmt.Errorf("publishing under %q: generation %d is there, and this folder did not publish it (its last is %d): another copy of it has published since, and this one %s: publish from that copy; if this one is meant, say --replace",
		p.prefix, there.generation(), last.Generation, loses)
}

// isOf tells whether a folder put the head that is there, by what it put last.
func (r remote) isOf(last authority.Publish) bool {
	if r.headedErr != nil {
		return r.generation() <= last.Generation // all there is to go by
	}
	return slices.Contains(last.Contents, contentOf(r.headed))
}

// unknownTo says what of that which was put there is not known to a folder that put what
// it did, and so not whom it revoked; nil, if nothing.
func (r remote) unknownTo(prefix string, last authority.Publish) error {
	ours := r.isOf(last)
	shard := bundle.ShardID(prefix, 0)
	versions := fmt.Sprintf("\"aws secretsmanager list-secret-version-ids --include-deprecated --secret-id %s\" lists what there was of it, which \"aws secretsmanager get-secret-value --version-id ID --secret-id %s\" has, of a region that is not your profile's with --region", shard, shard)
	const comesIn = "whom that revokes and this folder does not would come in again: find them, and revoke them here as well; "
	switch {
	case r.lostErr != nil && !ours:
		return fmt.Errorf("what was published last is not to be had any more (%w): "+comesIn+"the copy of the folder that published it knows them (\"vpnami-pki list\"), a gateway that has taken it has a file for each of their serials in /var/lib/vpnami/current/revoked, and %s", r.lostErr, versions)
	case r.strayErr != nil && (!ours || last.Told != ""): // else it may be what this folder itself put, and broke off
		return fmt.Errorf("%w: "+comesIn+"the copy of the folder that began it knows them (\"vpnami-pki list\"), and %s", r.strayErr, versions)
	}
	return nil
}

// notTakenOut are those of some people of a roster whom this folder did not take out:
// it has revoked not all of their certificates.
func notTakenOut(names []string, past authority.Past, roster []bundle.Person) []string {
	out := map[string]bool{}
	for _, p := range roster {
		out[p.Name] = len(p.Serials) > 0 && !slices.ContainsFunc(p.Serials, func(serial *big.Int) bool { return !past.TookBack(serial) })
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return out[name] })
}

// contentOf is the hash of what a head names, however its secrets are called.
func contentOf(head bundle.Head) string {
	sum := sha256.New()
	fmt.Fprintln(sum, head.ServerSHA256)
	for _, shard := range head.Shards {
		fmt.Fprintln(sum, shard.SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
