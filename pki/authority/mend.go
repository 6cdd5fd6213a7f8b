// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"strconv"
)

// What is revoked stands in three places: revoked.tsv, the list signed last, and the
// log. One of them may be lost, or an older copy put in its place: here it is made of
// the others.

// revokedAnew is [Folder.revokedFile] and, where the file is gone, what the log has of it.
func (f Folder) revokedAnew(number int, log logReader) (file revokedFile, gone bool, err error) {
	file, err = f.revokedFile(number)
	if gone = errors.Is(err, fs.ErrNotExist); gone {
		var told logged
		told, err = log.whole()
		file.revoked = told.revoked
	}
	return file, gone, err
}

// Gathered is what is revoked of a CA in force by all that tells of it.
type Gathered struct {
	number  int // of the CA, in ca/
	ca      *x509.Certificate
	last    *big.Int // of the list signed last, or the one that is to be signed above
	there   caFiles
	revoked []Revocation
	lacking bool         // revoked.tsv does not have all of it
	missed  []Revocation // what it does not have
	found   []Entry      // for the log: what it does not have
	told    bool         // the log tells of the files as they are
}

// Gather reads what is revoked of a CA in force, by its place in [Folder.CAs]. Above is
// the number of a list that was published from a copy of the folder that is lost: it
// stands in for a signed list that is lost, or that is not the last. Nothing is written.
func (f Folder) Gather(place int, above *big.Int) (Gathered, error) {
	return f.gather(f.mark.numbers()[place], f.cas[place], above)
}

func (f Folder) gather(number int, ca *x509.Certificate, above *big.Int, more ...Revocation) (Gathered, error) {
	last, err := f.signed(number)
	lost := errors.Is(err, fs.ErrNotExist) && above.Sign() > 0 && f.keepsKey(number)
	if lost {
		// The number is known, and what is revoked stands in the other file, or the log.
		last, err = signedCRL{path: f.at(caFile(number, "crl.pem")), head: crlHead{Number: new(big.Int)}}, nil
	}
	if err != nil {
		return Gathered{}, err
	}
	log := f.logOf(ca)
	file, gone, err := f.revokedAnew(number, log)
	if gone && !lost && isNotAll(err) {
		if above.Sign() > 0 {
			err = nil // the list lacks only what had ended when it was signed
		} else {
			err = fmt.Errorf("making anew what is revoked: %w: put revoked.tsv back from your newest copy of the folder; if there is none, \"vpnami-pki crl --above N\" takes the signed list beside it for all (N is its number, or the one that was published last)", err)
		}
	}
	if err != nil {
		return Gathered{}, err
	}
	g := Gathered{number: number, ca: ca, last: last.head.Number, there: last.beside(file)}
	listed, err := f.lost(ca, last, slices.Concat(file.revoked, more))
	if err != nil {
		return Gathered{}, err
	}
	forgotten, by, err := f.forgotten(number, log, g.there, slices.Concat(file.revoked, listed, more))
	if above.Sign() > 0 && isNotAll(err) {
		err = nil // it is said that this is all there is
	}
	if err != nil {
		return Gathered{}, err
	}
	for _, n := range []*big.Int{numberOf(by), above} {
		if n.Cmp(g.last) > 0 {
			g.last = n
		}
	}
	g.revoked = slices.Concat(file.revoked, listed, forgotten)
	g.missed = slices.Concat(listed, forgotten)
	if gone {
		g.missed = slices.Clone(g.revoked)
	}
	g.lacking = gone || len(g.missed) > 0
	unlogged, err := log.lacks(g.there, g.revoked)
	g.found, g.told = foundEntries(ca, unlogged), by != nil && by.whole() && by.is(g.there)
	return g, err
}

func numberOf(told *caFiles) *big.Int {
	if told == nil {
		return new(big.Int)
	}
	return told.number
}

func isNotAll(err error) bool { return errors.Is(err, errNotAll) }

// forgotten are revocations that the log has and files of a CA do not, where those that
// the log told of last are not the ones that are there: a command was broken off, or
// a copy of them was put in place, which agree with each other. It may be an older one,
// or that of another desk, with a number that is as high. It returns what the log told of
// last, too; nil, if that is none.
func (f Folder) forgotten(number int, log logReader, there caFiles, known []Revocation) ([]Revocation, *caFiles, error) {
	last, err := log.last()
	if err != nil || last != nil && last.whole() && last.is(there) {
		return nil, last, err
	}
	told, err := log.whole()
	if isNotAll(err) && (last == nil || last.is(there) || told.goesBackTo(there)) {
		err = nil // the files that are there have the rest, by all that is known
	}
	switch {
	case err == nil:
	case last == nil: // it cannot be read
	case !slices.Contains(f.mark.numbers(), number): // nothing more is signed by it
		err = fmt.Errorf("reading what is revoked: log.jsonl tells of %s: %w: %s", differing(*last, there, fmt.Sprintf("the one in %q", f.at("ca", strconv.Itoa(number)))), err, putBack)
	default:
		above := last.number
		if there.number.Cmp(above) > 0 {
			above = there.number
		}
		err = fmt.Errorf("reading what is revoked: log.jsonl tells of %s: %w: %s; if there is none, revoke once more whom that took out, after \"vpnami-pki crl --above %s\"", differing(*last, there, fmt.Sprintf("the one in %q", f.at("ca", strconv.Itoa(number)))), err, putBack, above)
	}
	return without(told.revoked, known), last, err
}

// lacks are revocations that files of a CA have and the log has not. It is looked
// through where it did not tell of these files last: they came from another desk, which
// has a log of its own. Older programs had it tell less.
func (l logReader) lacks(there caFiles, known []Revocation) ([]Revocation, error) {
	last, err := l.last()
	if err != nil || last != nil && last.whole() && last.is(there) {
		return nil, err
	}
	told, _ := l.whole() // what of it cannot be read is told once more
	return without(known, told.revoked), nil
}

// without are revocations that are not among those that are known.
func without(revoked, known []Revocation) []Revocation {
	is := serialsIn(known)
	return slices.DeleteFunc(slices.Clone(revoked), func(r Revocation) bool { return is[r.Serial.String()] })
}

func serialsIn(revoked []Revocation) map[string]bool {
	is := make(map[string]bool, len(revoked))
	for _, r := range revoked {
		is[r.Serial.String()] = true
	}
	return is
}

// foundEntries tell of revocations that stood in the files of a CA alone.
func foundEntries(ca *x509.Certificate, revoked []Revocation) []Entry {
	var entries []Entry
	for _, r := range revoked {
		entries = append(entries, Entry{Action: "revoke-found", Name: r.Serial.String(), CA: ca, Detail: r.Reason.String()})
	}
	return entries
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
		return nil, last.damaged(err)
	}
	is := serialsIn(known)
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

// replaced are the numbers of the CAs that are no longer in force. What a kill left of
// making one never was.
func (f Folder) replaced() []int {
	var numbers []int
	for number := 1; number < f.mark.Signing; number++ {
		if number != f.mark.Previous && (!slices.Contains(f.mark.Skipped, number) || f.whole(f.at("ca", strconv.Itoa(number)))) {
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
	log := f.logOf(ca)
	file, _, err := f.revokedAnew(number, log)
	known := file.revoked
	signed, failed := f.signed(number)
	if failed == nil {
		var lost []Revocation
		lost, failed = f.lost(ca, signed, known)
		known = append(known, lost...)
	} else {
		signed.head.Number = new(big.Int) // the log may have more
		if _, lacking := log.whole(); lacking == nil {
			failed = nil // it has all that was ever on the list
		}
	}
	forgotten, _, behind := f.forgotten(number, log, signed.beside(file), known)
	return append(known, forgotten...), cmp.Or(err, failed, behind)
}
