// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Adopted is a CA that another program made, with what it signed.
type Adopted struct {
	CA        *x509.Certificate
	CRLNumber *big.Int // of its last list; the next has a higher one
	Revoked   []Revocation
	People    []AdoptedPerson
	// Others is what else it signed, as far as that is known: their keys are known
	// by it when one is to be certified again.
	Others []*x509.Certificate
}

// AdoptedPerson is somebody with certificates of an adopted CA.
type AdoptedPerson struct {
	Name         string
	CommonName   string // of the certificates, if it is outside the alphabet
	Certificates []*x509.Certificate
}

// AdoptedKey is the key of an adopted CA, to be kept under a passphrase.
type AdoptedKey struct {
	Key        crypto.Signer
	Passphrase []byte
}

// Format keeps the key out of whatever is printed.
func (k AdoptedKey) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "adopted key") }

func (k AdoptedKey) newKey(io.Reader) (crypto.Signer, string, []byte, error) {
	locked, err := lockKey(k.Key, k.Passphrase)
	return k.Key, lockedKeyFile, locked, err
}

func (a Adopted) issuer(key crypto.Signer, now time.Time, random io.Reader) (Issuer, error) {
	if !sameKey(key.Public(), a.CA.PublicKey) {
		return Issuer{}, errors.New("the key does not belong to the certificate of the CA")
	}
	if err := checkSigns(a.CA, now); err != nil {
		return Issuer{}, err
	}
	return Issuer{number: 1, certificate: a.CA, key: key, random: random, now: now}, nil
}

func (a Adopted) nextCRL() *big.Int {
	if a.CRLNumber == nil {
		return big.NewInt(1)
	}
	return new(big.Int).Add(a.CRLNumber, big.NewInt(1))
}

// until is when the last of the certificates ends; zero, if there are none.
func (a Adopted) until() time.Time {
	var last time.Time
	for _, p := range a.People {
		for _, c := range p.Certificates {
			if c.NotAfter.After(last) {
				last = c.NotAfter
			}
		}
	}
	return last
}

// files are the people and every certificate, as files within the folder.
func (a Adopted) files() ([]NewFile, []Entry, error) {
	var files []NewFile
	var entries []Entry
	for _, p := range a.People {
		person := Person{Schema: schema, Name: p.Name, CommonName: p.CommonName}
		for _, c := range p.Certificates {
			sum := sha256.Sum256(c.Raw)
			end := c.NotAfter
			if end.After(a.CA.NotAfter) { // easy-rsa signs for as long as it is told; nothing verifies without its CA
				end = a.CA.NotAfter
			}
			person.Certificates = append(person.Certificates, Issued{
				CA: 1, Serial: c.SerialNumber.String(), SHA256: hex.EncodeToString(sum[:]), NotBefore: c.NotBefore, NotAfter: end, Profile: Unwrapped,
			})
			files = append(files, NewFile{certificateFile(c), publicFile, bundle.CertificatesPEM(c)})
			entries = append(entries, Entry{Action: "import", Name: p.Name, Certificate: c})
		}
		raw, err := encode(person)
		if err != nil {
			return nil, nil, fmt.Errorf("adding %q to the roster: %w", p.Name, err)
		}
		files = append(files, NewFile{filepath.Join("people", strings.ToLower(p.Name)+".json"), privateFile, raw})
	}
	for _, c := range a.Others {
		files = append(files, NewFile{certificateFile(c), publicFile, bundle.CertificatesPEM(c)})
		entries = append(entries, Entry{Action: "import-other", Name: nameOf(c), Certificate: c})
	}
	for _, r := range a.Revoked {
		entries = append(entries, Entry{Action: "import-revoked", Name: r.Serial.String(), CA: a.CA, Detail: r.Reason.String()})
	}
	return files, entries, nil
}

// Imported tells whether a CA of this authority was taken over, so that there may
// be certificates of it that are not kept here.
func (f Folder) Imported() bool {
	// One that was made here may have no CA below it; easy-rsa sets no such limit.
	other := func(ca *x509.Certificate) bool { return !ca.MaxPathLenZero }
	return !f.mark.ImportedUntil.IsZero() || slices.ContainsFunc(f.cas, other)
}
