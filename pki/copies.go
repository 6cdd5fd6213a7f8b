// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
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
	if off := now.Sub(asked); asked.IsZero() || off.Abs() <= mostOff {
		return nil
	}
	return fmt.Errorf("looking at the clock: this machine says %s, AWS says %s: set it right, and publish then", now.UTC().Format(time.DateTime), asked.UTC().Format(time.DateTime))
}

// checkReplace refuses a publish that would take away what is there: another
// authority's values, or those of a newer copy of the folder.
func checkReplace(server bundle.Server, access bundle.Access, past authority.Past, prefix string, there remote) error {
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
	shared := slices.ContainsFunc(there.opened.CA, func(ca *x509.Certificate) bool { return slices.ContainsFunc(server.CA, ca.Equal) })
	if !shared {
		return fmt.Errorf("publishing under %q: the authority %q is there now, with another CA: everybody who connects today would be locked out"+replace, prefix, there.opened.Authority)
	}
	for _, ca := range there.opened.CA {
		if !past.Had(ca) {
			return fmt.Errorf("publishing under %q: a CA is there that this folder does not have (%q, until %s): this folder is an old copy, from before a roll-over, and would lock out who has a certificate of it: publish from the newer one"+replace,
				prefix, ca.Subject.CommonName, day(ca.NotAfter))
		}
	}
	if there.accessErr != nil {
		return nil //nolint:nilerr // a publish broke off, or is being repaired by this one
	}
	for _, before := range there.access.CRLs() {
		if !slices.ContainsFunc(past.CAs, func(ca *x509.Certificate) bool { return before.CheckSignatureFrom(ca) == nil }) {
			continue
		}
		for _, entry := range before.RevokedCertificateEntries {
			if !past.TookBack(entry.SerialNumber) {
				return fmt.Errorf("publishing under %q: the certificate %s is revoked there and not in this folder: this folder is an old copy, or lost what was revoked, and would let in whose it is: publish from the newer one, or revoke it here as well"+replace, prefix, entry.SerialNumber)
			}
		}
	}
	for _, before := range there.access.CRLs() {
		for i, ours := range access.CRLs() {
			// A list of another CA says nothing of this one's.
			if before.CheckSignatureFrom(server.CA[i]) == nil && before.Number.Cmp(ours.Number) > 0 {
				return fmt.Errorf("publishing under %q: the CRL there has number %s, this folder's has %s: this folder is an old copy, and would let in who was revoked since"+replace, prefix, before.Number, ours.Number)
			}
		}
	}
	return nil
}

// checkCopy refuses a publish over that of another copy of the folder. The number
// of the CRL does not tell those who were added since, nor does the generation:
// that of this folder's last publishes may be higher, where they broke off, or went
// to another account.
func (p publication) checkCopy(there remote, last authority.Publish) error {
	ours := there.generation() <= last.Generation // all there is to go by, if the head cannot be read
	if there.headedErr == nil {
		ours = slices.Contains(last.Contents, contentOf(there.headed))
	}
	if len(p.changes) == 0 || ours {
		return nil
	}
	loses := "would undo what it changed"
	switch {
	case len(p.removed) > 0:
		loses = "would remove " + some(p.removed)
	case there.accessErr != nil:
		loses = "might remove people (what is there cannot be read)"
	}
	return fmt.Errorf("publishing under %q: generation %d is there, and this folder did not publish it (its last is %d): another copy of it has published since, and this one %s: publish from that copy; if this one is meant, say --replace",
		p.prefix, there.generation(), last.Generation, loses)
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
