// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Renewals tells who may be given another certificate.
type Renewals struct {
	folder   Folder
	standing Standing
	// takenBack are the revoked certificates that are kept here, and others the serials of
	// those that were taken over from another program as nobody's in the roster. Both are
	// read once they count.
	takenBack func() []*x509.Certificate
	others    func() map[string]bool
}

// Renewals reads what is revoked, once for all who are renewed.
func (f Folder) Renewals(now time.Time) (Renewals, error) {
	if err := checkSigns(f.CA(), now); err != nil {
		return Renewals{}, err
	}
	standing, err := f.Standing(now)
	if err != nil {
		return Renewals{}, err
	}
	// The list may know more than revoked.tsv, in whose place an older copy was put.
	if err := f.CheckListed(); err != nil {
		// Who depends on a CA that is being replaced, and of which the list is lost, is to
		// be renewed before it ends, where the log has told of it all.
		_, signing := settled(f, func() (signedCRL, error) { s, _, err := f.listOf(f.mark.Signing); return s, err })
		_, lost := f.signed(f.mark.Previous)
		told, unread := f.tookBackBy(f.mark.Previous)
		if signing != nil || lost == nil || unread != nil {
			return Renewals{}, err
		}
		standing.add(told)
	}
	return Renewals{f, standing, sync.OnceValue(func() []*x509.Certificate { return f.takenBack(standing) }), sync.OnceValue(f.others)}, nil
}

// Check refuses somebody who was revoked: who renews everybody must not let them in
// again.
func (r Renewals) Check(p Person) error {
	const again = "\"issue\" lets them in again"
	if _, by, out := r.standing.Out(p); out {
		return fmt.Errorf("they were revoked on %s (%s); %s", by.At.UTC().Format(time.DateOnly), by.Reason, again)
	}
	if len(r.standing.Live(p)) > 0 {
		return nil
	}
	if unread := r.standing.Unread(p); unread != nil {
		return fmt.Errorf("nothing of theirs is in force, and whether they were revoked is not known: %w; %s", unread, again)
	}
	if by, is := r.outside(p); is {
		why := fmt.Sprintf("which %q does not have, was revoked on %s (%s): that file is of an older copy: put the newest back", r.folder.personFile(p.Name), by.At.UTC().Format(time.DateOnly), by.Reason)
		if r.others()[by.Serial.String()] {
			why = fmt.Sprintf("which was newer than those that were taken over of theirs, was revoked on %s (%s)", by.At.UTC().Format(time.DateOnly), by.Reason)
		}
		return fmt.Errorf("nothing of theirs is in force, and their certificate %s, %s; %s", by.Serial, why, again)
	}
	return nil
}

// outside finds a revoked certificate of a person that the roster does not have, since
// an older file was put back, and that was taken back after all that it has was given.
// What an imported person had beside is not in it either, and never was: that counts if
// it was given after all that it has.
func (r Renewals) outside(p Person) (Revocation, bool) {
	for _, c := range r.takenBack() {
		serial := c.SerialNumber.String()
		by := r.standing.revoked[serial]
		given := func(after time.Time) bool {
			return slices.ContainsFunc(p.Certificates, func(has Issued) bool { return has.Serial == serial || has.NotBefore.After(after) })
		}
		if p.named(c) && !given(by.At) && (!r.others()[serial] || !given(c.NotBefore)) {
			return by, true
		}
	}
	return Revocation{}, false
}

// others reads in the log what was taken over as nobody's in the roster.
func (f Folder) others() map[string]bool {
	serials := map[string]bool{}
	// Where it is lost, nothing is known to be.
	_ = f.eachLine(func(text []byte) {
		var line logLine
		if bytes.Contains(text, []byte("import-other")) && json.Unmarshal(text, &line) == nil && line.Action == "import-other" {
			serials[line.Serial] = true
		}
	})
	return serials
}

// takenBack reads the revoked certificates that are kept here. One whose file is lost
// tells no name.
func (f Folder) takenBack(standing Standing) []*x509.Certificate {
	var all []*x509.Certificate
	for _, by := range standing.revoked {
		if c, err := f.certificate(certificateFileOf(by.Serial)); err == nil {
			all = append(all, c)
		}
	}
	return all
}
