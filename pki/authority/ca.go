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
	"io/fs"
	"math/big"
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

// anew is the way where revoked.tsv is gone.
const anew = "; \"vpnami-pki crl\" makes it anew of the signed list beside it and the log"

// What to do about a file that cannot be made anew from the others.
const (
	putBack = "put it back from your newest copy of the folder"
	// The list itself stands in revoked.tsv; only its number is lost, which must
	// not go back.
	putBackCRL = putBack + ", then sign it with \"vpnami-pki crl\"; if there is none, remove the file and sign above the number that was published last: \"vpnami-pki crl --above N\""
)

func (f Folder) revocations(number int) ([]Revocation, error) {
	path := f.at(caFile(number, "revoked.tsv"))
	raw, err := os.ReadFile(path)
	if err != nil {
		way := putBack
		if slices.Contains(f.mark.numbers(), number) {
			way += anew
		}
		return nil, fmt.Errorf("reading what is revoked: %w: %s", err, way)
	}
	revoked, err := parseRevoked(raw)
	if err != nil {
		return nil, fmt.Errorf("reading what is revoked: %q: %w: %s", path, err, putBack+"; if there is none, remove it"+anew)
	}
	return revoked, nil
}

// CRLs reads the revocation lists last signed, in the order of [Folder.CAs].
// One that does not say what is revoked, because a command was broken off or the
// clock was ahead, is refused: published, it would let somebody in.
func (f Folder) CRLs(now time.Time) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for _, number := range f.mark.numbers() {
		signed, revoked, err := f.listOf(number)
		if err != nil {
			return nil, err
		}
		list, err := x509.ParseRevocationList(signed.der)
		if err != nil {
			return nil, fmt.Errorf("reading the CRL %q: %w: %s", signed.path, err, putBackCRL)
		}
		listed := make(map[string]bool, len(list.RevokedCertificateEntries))
		for _, entry := range list.RevokedCertificateEntries {
			listed[entry.SerialNumber.String()] = true
		}
		for _, r := range unexpired(revoked, now) {
			if !listed[r.Serial.String()] {
				return nil, fmt.Errorf("reading the CRL %q: it lacks the certificate %s, which is revoked (a command was broken off before it signed, or the clock was ahead when it did): sign it with \"vpnami-pki crl\"", signed.path, r.Serial)
			}
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// CheckListed refuses what [Folder.listOf] does, of each CA in force.
func (f Folder) CheckListed() error {
	for _, number := range f.mark.numbers() {
		if _, _, err := f.listOf(number); err != nil {
			return err
		}
	}
	return nil
}

// listOf reads the list last signed of a CA, and what is revoked. It refuses a
// revoked.tsv that lacks what the list has: that is written first, so an older one has
// been put back.
func (f Folder) listOf(number int) (signedCRL, []Revocation, error) {
	signed, err := f.signed(number)
	if err != nil {
		return signedCRL{}, nil, err
	}
	revoked, err := f.revocations(number)
	if err != nil {
		return signedCRL{}, nil, err
	}
	beyond, err := signed.beyond(revoked)
	if err == nil && beyond {
		err = fmt.Errorf("reading what is revoked: %q lacks what the signed list beside it has (is it of an older copy?): take that over with \"vpnami-pki crl\"", f.at(caFile(number, "revoked.tsv")))
	}
	return signed, revoked, err
}

// signedCRL is a list as it was last signed, with what it says of itself.
type signedCRL struct {
	path string
	der  []byte
	head crlHead
}

func (f Folder) signed(number int) (signedCRL, error) {
	path := f.at(caFile(number, "crl.pem"))
	der, err := readCRL(path)
	if err != nil {
		return signedCRL{}, err
	}
	head, err := readCRLHead(der)
	if err != nil {
		return signedCRL{}, fmt.Errorf("reading the CRL %q: %w: %s", path, err, putBackCRL)
	}
	return signedCRL{path, der, head}, nil
}

// beyond tells whether a list has a certificate that is not among the revoked.
func (s signedCRL) beyond(revoked []Revocation) (bool, error) {
	beyond, err := s.head.beyond(revoked)
	if err != nil {
		return false, fmt.Errorf("reading the CRL %q: %w: %s", s.path, err, putBackCRL)
	}
	return beyond, nil
}

func readCRL(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the CRL: %w: %s", err, putBackCRL)
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "X509 CRL" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("reading the CRL %q: it is not the PEM of a CRL (is the file damaged?): %s", path, putBackCRL)
	}
	return block.Bytes, nil
}

// RenewCRL signs the CRL of the issuer's CA anew when half of its life is
// over, or when it begins in the future: the clock was ahead then, and the list
// may lack what seemed to have ended. Issuing calls it, because the key is open
// then; it does not read the list's entries, of which there may be a hundred
// thousand.
func (f Folder) RenewCRL(issuer Issuer) error {
	signed, err := f.signed(issuer.number)
	if err != nil {
		return err
	}
	if !issuer.now.Before(signed.head.ThisUpdate) && issuer.now.Before(signed.head.NextUpdate.Add(-CRLLife/2)) {
		return nil
	}
	_, err = f.SignCRL(issuer)
	return err
}

// SignCRL adds to what is revoked of the issuer's CA, if there is more, and
// signs its CRL with the next number. What ended long ago falls out of the list;
// revoked.tsv keeps it: whether something has ended is the clock's word, which
// may be wrong once, and a revocation is for good. It returns the number.
func (f Folder) SignCRL(issuer Issuer, more ...Revocation) (*big.Int, error) {
	return f.signCRL(issuer, new(big.Int), more)
}

// SignCRLAbove signs the CRL of the issuer's CA with a number above a given one:
// that of a list which was published from a copy of the folder that is lost.
func (f Folder) SignCRLAbove(issuer Issuer, above *big.Int) (*big.Int, error) {
	return f.signCRL(issuer, above, nil)
}

func (f Folder) signCRL(issuer Issuer, above *big.Int, more []Revocation) (*big.Int, error) {
	last, err := f.signed(issuer.number)
	if errors.Is(err, fs.ErrNotExist) && above.Sign() > 0 {
		// The number is known, and what is revoked stands in the other file.
		last, err = signedCRL{path: f.at(caFile(issuer.number, "crl.pem")), head: crlHead{Number: new(big.Int)}}, nil
	}
	if err != nil {
		return nil, err
	}
	revoked, gone, err := f.revocationsAnew(issuer.number, issuer.certificate)
	if err == nil && gone && last.der == nil {
		err = fmt.Errorf("reading what is revoked: revoked.tsv and crl.pem of %q are both gone, and the log alone is not believed: %s", issuer.certificate.Subject.CommonName, putBack)
	}
	if err != nil {
		return nil, err
	}
	lost, err := f.lost(issuer.certificate, last, slices.Concat(revoked, more))
	if err != nil {
		return nil, err
	}
	more = append(more, lost...)
	revoked = append(revoked, more...)
	number := big.NewInt(1)
	if last.head.Number.Cmp(above) > 0 {
		above = last.head.Number
	}
	number.Add(number, above)
	text, err := issuer.crl(number, unexpired(revoked, issuer.now))
	if err != nil {
		return nil, err
	}
	entries := []Entry{{Action: "sign-crl", Name: issuer.certificate.Subject.CommonName, Detail: "number " + number.String()}}
	if err := f.Log(issuer.now, append(entries, foundEntries(lost)...)...); err != nil {
		return nil, err
	}
	// What is revoked comes first: a list that lacks some of it is noticed.
	if len(more) > 0 || gone {
		if err := f.writeRevoked(issuer.number, revoked); err != nil {
			return nil, err
		}
	}
	return number, Replace(last.path, publicFile, text)
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
