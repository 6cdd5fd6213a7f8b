// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// caFile is the path of a file of a CA, within the folder.
func caFile(number int, name string) string {
	return filepath.Join("ca", strconv.Itoa(number), name)
}

// Unlock opens the key of the CA that signs.
func (f Folder) Unlock(keys Keys, now time.Time) (Issuer, error) {
	return f.unlock(f.mark.Signing, f.cas[0], keys, now)
}

// Places are those of all CAs in [Folder.CAs].
func (f Folder) Places() []int {
	if f.RollingOver() {
		return []int{0, 1}
	}
	return []int{0}
}

// UnlockThose opens the keys of some CAs, by their places in [Folder.CAs]: where one
// replaces another, the old key may be lost, or taken away from KMS too early.
func (f Folder) UnlockThose(keys Keys, now time.Time, places []int) ([]Issuer, error) {
	var issuers []Issuer
	for _, i := range places {
		issuer, err := f.unlock(f.mark.numbers()[i], f.cas[i], keys, now)
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

func (f Folder) unlock(number int, certificate *x509.Certificate, keys Keys, now time.Time) (Issuer, error) {
	key, err := f.openKey(number, keys)
	if err != nil {
		return Issuer{}, err
	}
	if !sameKey(key.Public(), certificate.PublicKey) {
		return Issuer{}, fmt.Errorf("opening the CA's key: it does not belong to %q", f.at(caFile(number, "ca.crt")))
	}
	return Issuer{number: number, certificate: certificate, key: key, random: rand.Reader, now: now}, nil
}

func sameKey(one, other crypto.PublicKey) bool {
	comparable, ok := one.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(other)
}

// Revocations reads what is revoked of each CA in force, in the order of
// [Folder.CAs].
func (f Folder) Revocations() ([][]Revocation, error) {
	var all [][]Revocation
	for _, number := range f.mark.numbers() {
		revoked, err := f.revocations(number)
		if err != nil {
			return nil, err
		}
		all = append(all, revoked)
	}
	return all, nil
}

// inForce is [Folder.Revocations] for who must not be kept from revoking what the CA
// that signs has signed: where revoked.tsv of the one that it is replacing cannot be
// read, what else tells of it counts, and unread is why that may not be all.
func (f Folder) inForce() (all [][]Revocation, unread error, err error) {
	signing, err := f.revocations(f.mark.Signing)
	if err != nil {
		return nil, nil, err
	}
	all = append(all, signing)
	if f.RollingOver() {
		previous, err := f.revocations(f.mark.Previous)
		if err != nil {
			previous, unread = f.tookBackBy(f.mark.Previous)
		}
		all = append(all, previous)
	}
	return all, unread, nil
}

// anew is the way where revoked.tsv is gone.
const anew = "; \"vpnami-pki crl\" makes it anew of the signed list beside it and the log"

// putBack is the way where a file cannot be made anew from the others.
const putBack = "put it back from your newest copy of the folder"

// putBackCRL is the way where a signed list is lost. What is revoked stands in
// revoked.tsv; only its number is lost, which must not go back.
func (f Folder) putBackCRL(number int) string {
	if !slices.Contains(f.mark.numbers(), number) {
		return putBack
	}
	if number == f.mark.Previous && !f.keepsKey(number) {
		return putBack + "; if there is none, what was published last has it, in its field \"previous_crl\": that is base64 of the DER, in PREFIX/access/000 and its other shards, put together and unpacked (gzip); else nothing can be signed in its place, because that CA's key is not in the folder either: " + endIt
	}
	return putBack + ", then sign it with \"vpnami-pki crl\"; if there is none, remove the file and sign above the number that was published last: \"vpnami-pki crl --above N\""
}

// endIt is the way that is left without the key of a CA that is being replaced.
const endIt = "\"vpnami-pki rollover end\" takes it out of force (with --cut, where people depend on it still)"

// revokedFile is revoked.tsv of a CA.
type revokedFile struct {
	raw     []byte
	revoked []Revocation
}

// hash is empty where the file is gone, or damaged.
func (r revokedFile) hash() string {
	if r.raw == nil {
		return ""
	}
	return hashOf(r.raw)
}

func (f Folder) revokedFile(number int) (revokedFile, error) {
	path := f.at(caFile(number, "revoked.tsv"))
	raw, err := os.ReadFile(path)
	if err != nil {
		way := putBack
		if slices.Contains(f.mark.numbers(), number) {
			way += anew
		}
		return revokedFile{}, fmt.Errorf("reading what is revoked: %w: %s", err, way)
	}
	revoked, err := parseRevoked(raw)
	if err != nil {
		return revokedFile{}, fmt.Errorf("reading what is revoked: %q: %w: %s", path, err, putBack+"; if there is none, remove it"+anew)
	}
	return revokedFile{raw, revoked}, nil
}

func (f Folder) revocations(number int) ([]Revocation, error) {
	file, err := f.revokedFile(number)
	return file.revoked, err
}

// CRLs reads the revocation lists last signed, in the order of [Folder.CAs].
// One that does not say what is revoked, because a command was broken off or the
// clock was ahead, is refused: published, it would let somebody in.
func (f Folder) CRLs(now time.Time) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for _, number := range f.mark.numbers() {
		list, err := settled(f, func() (*x509.RevocationList, error) { return f.crl(number, now) })
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	return lists, nil
}

func (f Folder) crl(number int, now time.Time) (*x509.RevocationList, error) {
	signed, revoked, err := f.listOf(number)
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(signed.der)
	if err != nil {
		return nil, signed.damaged(err)
	}
	listed := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, entry := range list.RevokedCertificateEntries {
		listed[entry.SerialNumber.String()] = true
	}
	for _, r := range unexpired(revoked, now) {
		if !listed[r.Serial.String()] {
			way := "sign it with \"vpnami-pki crl\""
			if number == f.mark.Previous && !f.keepsKey(number) {
				way = "its CA's key is not in the folder to sign it: put that back; if there is none, " + endIt
			}
			return nil, unsettledError{fmt.Errorf("reading the CRL %q: it lacks the certificate %s, which is revoked (a command was broken off before it signed, or the clock was ahead when it did): %s", signed.path, r.Serial, way)}
		}
	}
	return list, nil
}

// unsettledError is that what is revoked and what is signed differ: for good, or while
// a command writes the one and then the other.
type unsettledError struct{ error }

func (e unsettledError) Unwrap() error { return e.error }

// settled reads again where the two differ, while nobody can write: what is different
// then is so for good.
func settled[T any](f Folder, read func() (T, error)) (T, error) {
	out, err := read()
	if _, differ := errors.AsType[unsettledError](err); !differ {
		return out, err
	}
	release := f.keepFromWriting()
	defer release()
	return read()
}

// CheckListed refuses what [Folder.listOf] does, of each CA in force.
func (f Folder) CheckListed() error {
	for _, number := range f.mark.numbers() {
		_, err := settled(f, func() (signed signedCRL, err error) { signed, _, err = f.listOf(number); return signed, err })
		if err != nil {
			return err
		}
	}
	return nil
}

// listOf reads the list last signed of a CA, and what is revoked. It refuses a
// revoked.tsv that lacks what the list has: that is written first, so an older one has
// been put back; and where both are older, what the log has.
func (f Folder) listOf(number int) (signedCRL, []Revocation, error) {
	signed, err := f.signed(number)
	if err != nil {
		return signedCRL{}, nil, err
	}
	file, err := f.revokedFile(number)
	if err != nil {
		return signedCRL{}, nil, err
	}
	revoked := file.revoked
	beyond, err := signed.beyond(revoked)
	if err != nil {
		return signed, revoked, err
	}
	tsv := f.at(caFile(number, "revoked.tsv"))
	if beyond {
		return signed, revoked, unsettledError{fmt.Errorf("reading what is revoked: %q lacks what the signed list beside it has (is it of an older copy?): take that over with \"vpnami-pki crl\"", tsv)}
	}
	there := signed.beside(file)
	forgotten, by, err := f.forgotten(number, f.logOf(f.caOf(number)), there, revoked)
	switch {
	case isNotAll(err):
		err = unsettledError{err}
	case err == nil && len(forgotten) > 0:
		err = unsettledError{fmt.Errorf("reading what is revoked: %q lacks what log.jsonl has, which tells of %s (is that folder of another copy, or was a command broken off?): take that over with \"vpnami-pki crl\"", tsv, differing(*by, there, "the one beside it"))}
	}
	return signed, revoked, err
}

// caOf is the certificate of a CA in force.
func (f Folder) caOf(number int) *x509.Certificate {
	return f.cas[slices.Index(f.mark.numbers(), number)]
}

// signedCRL is a list as it was last signed, with what it says of itself.
type signedCRL struct {
	path string
	der  []byte
	head crlHead
	way  string // what to do where it is damaged
}

func (f Folder) signed(number int) (signedCRL, error) {
	s := signedCRL{path: f.at(caFile(number, "crl.pem")), way: f.putBackCRL(number)}
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return signedCRL{}, fmt.Errorf("reading the CRL: %w: %s", err, s.way)
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "X509 CRL" || len(bytes.TrimSpace(rest)) > 0 {
		return signedCRL{}, s.damaged(errors.New("it is not the PEM of a CRL (is the file damaged?)"))
	}
	s.der = block.Bytes
	if s.head, err = readCRLHead(s.der); err != nil {
		return signedCRL{}, s.damaged(err)
	}
	return s, nil
}

func (s signedCRL) damaged(err error) error {
	return fmt.Errorf("reading the CRL %q: %w: %s", s.path, err, s.way)
}

// beyond tells whether a list has a certificate that is not among the revoked.
func (s signedCRL) beyond(revoked []Revocation) (bool, error) {
	beyond, err := s.head.beyond(revoked)
	if err != nil {
		return false, s.damaged(err)
	}
	return beyond, nil
}

// ReasonOf is a reason as it is kept here: a list of another program may have others
// (RFC 5280 section 5.3.1).
func ReasonOf(code int) Reason {
	switch reason := Reason(code); {
	case slices.Contains(reasons(), reason):
		return reason
	case code == 2, code == 10: // a CA's compromise, an attribute authority's
		return KeyCompromise
	}
	return Unspecified
}
