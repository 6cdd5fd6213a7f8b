// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bufio"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// What is revoked stands in three places: revoked.tsv, the list signed last, and the
// log. One of them may be lost, or an older copy put in its place: here it is made of
// the others.

// revocationsAnew is [Folder.revocations] and, where the file is gone, what the log has
// of it.
func (f Folder) revocationsAnew(number int, ca *x509.Certificate) (revoked []Revocation, gone bool, err error) {
	revoked, err = f.revocations(number)
	if gone = errors.Is(err, fs.ErrNotExist); gone {
		revoked, err = f.revokedByLog(ca)
	}
	return revoked, gone, err
}

// MendRevoked makes what is revoked of a CA in force anew, by its place in [Folder.CAs].
// That takes no key, which may be lost.
func (f Folder) MendRevoked(now time.Time, place int) error {
	number, ca := f.mark.numbers()[place], f.cas[place]
	last, err := f.signed(number)
	if err != nil {
		return err
	}
	revoked, gone, err := f.revocationsAnew(number, ca)
	if err != nil {
		return err
	}
	lost, err := f.lost(ca, last, revoked)
	if err != nil || len(lost) == 0 && !gone {
		return err
	}
	if err := f.Log(now, foundEntries(lost)...); err != nil {
		return err
	}
	return f.writeRevoked(number, append(revoked, lost...))
}

// foundEntries tell of revocations that stood on the signed list alone.
func foundEntries(lost []Revocation) []Entry {
	var entries []Entry
	for _, r := range lost {
		entries = append(entries, Entry{Action: "revoke-found", Name: r.Serial.String(), Detail: "on the signed list alone"})
	}
	return entries
}

func (f Folder) writeRevoked(number int, revoked []Revocation) error {
	if err := Replace(f.at(caFile(number, "revoked.tsv")), privateFile, encodeRevoked(revoked)); err != nil {
		return fmt.Errorf("writing what is revoked: %w", err)
	}
	return nil
}

// lost are revocations that stand on the list last signed of a CA and nowhere else:
// what is revoked is written first, so an older revoked.tsv has been put back. They
// stay revoked.
func (f Folder) lost(ca *x509.Certificate, last signedCRL, known []Revocation) ([]Revocation, error) {
	if beyond, err := last.beyond(known); err != nil || !beyond {
		return nil, err
	}
	list, err := x509.ParseRevocationList(last.der)
	if err == nil {
		err = list.CheckSignatureFrom(ca)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the CRL %q: %w: %s", last.path, err, putBackCRL)
	}
	is := make(map[string]bool, len(known))
	for _, r := range known {
		is[r.Serial.String()] = true
	}
	var lost []Revocation
	for _, entry := range list.RevokedCertificateEntries {
		if is[entry.SerialNumber.String()] {
			continue
		}
		end := ca.NotAfter // of a certificate that is not kept here
		if certificate, err := f.certificate(certificateFileOf(entry.SerialNumber)); err == nil {
			end = certificate.NotAfter
		}
		lost = append(lost, Revocation{Serial: entry.SerialNumber, NotAfter: end, At: entry.RevocationTime.UTC(), Reason: ReasonOf(entry.ReasonCode)})
	}
	return lost, nil
}

// replaced are the numbers of the CAs that are no longer in force.
func (f Folder) replaced() []int {
	var numbers []int
	for number := 1; number < f.mark.Signing; number++ {
		if number != f.mark.Previous {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// tookBack is what the CAs that were replaced revoked: by revoked.tsv and by the list
// signed last, since either may be lost, or an older copy put back. What of it cannot be
// read is told by the numbers of the CAs.
func (f Folder) tookBack() ([]Revocation, map[int]error) {
	var all []Revocation
	unread := map[int]error{}
	for _, number := range f.replaced() {
		known, err := f.tookBackBy(number)
		if err != nil {
			unread[number] = err
		}
		all = append(all, known...)
	}
	return all, unread
}

// tookBackBy is what one of them revoked, as far as it can be read, beside the error.
func (f Folder) tookBackBy(number int) ([]Revocation, error) {
	ca, lacking := f.certificate(caFile(number, "ca.crt"))
	if lacking != nil {
		known, err := f.revocations(number)
		return known, cmp.Or(err, lacking)
	}
	known, _, err := f.revocationsAnew(number, ca)
	signed, failed := f.signed(number)
	var lost []Revocation
	if failed == nil {
		lost, failed = f.lost(ca, signed, known)
	}
	return append(known, lost...), cmp.Or(err, failed)
}

// longestLine is more than a line that names all groups of a person.
const longestLine = 16 << 20

// revokedByLog is what was taken back of a CA by the log, which has all of it, also
// what has fallen out of the signed list. Of a serial that is not kept here it does
// not know the CA: that counts for each.
func (f Folder) revokedByLog(ca *x509.Certificate) ([]Revocation, error) {
	file, err := os.Open(f.at("log.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	defer file.Close()
	found, asked := map[string]Revocation{}, map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var line logLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // a crash cut it off
		}
		switch line.Action {
		case "log-lost":
			return nil, fmt.Errorf("reading the log: %q began anew on %s and does not have all", f.at("log.jsonl"), line.Time.Format(time.DateOnly))
		case "revoke", "revoke-foreign", "revoke-found", "import-revoked":
			serial := cmp.Or(line.Serial, line.Name)
			if asked[serial] {
				continue
			}
			asked[serial] = true
			if r, is := f.revokedBy(ca, line); is {
				found[serial] = r
			}
		case "revoke-failed", "revoke-foreign-failed": // the list has it, if it is on one
			delete(found, cmp.Or(line.Serial, line.Name))
			delete(asked, cmp.Or(line.Serial, line.Name))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return slices.Collect(maps.Values(found)), nil
}

// revokedBy is the revocation of a line; false, if it is of another CA.
func (f Folder) revokedBy(ca *x509.Certificate, line logLine) (Revocation, bool) {
	serial, ok := parseSerial(cmp.Or(line.Serial, line.Name))
	if !ok {
		return Revocation{}, false
	}
	r := Revocation{Serial: serial, NotAfter: ca.NotAfter, At: line.Time.UTC().Truncate(time.Second)}
	if reason, err := ParseReason(line.Detail); err == nil {
		r.Reason = reason
	}
	if c, err := f.certificate(certificateFileOf(serial)); err == nil {
		r.NotAfter = c.NotAfter
		if err := c.CheckSignatureFrom(ca); err != nil {
			_, weak := errors.AsType[x509.InsecureAlgorithmError](err)
			return r, weak // no gateway takes it; which CA's it is does not matter
		}
	}
	return r, true
}
