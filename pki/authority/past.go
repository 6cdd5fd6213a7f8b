// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/x509"
	"math/big"
	"slices"
)

// Past is what an authority ever had in force: what is known elsewhere of it and
// not here was done by a newer copy of the folder.
type Past struct {
	CAs     []*x509.Certificate
	revoked map[string]bool // by decimal serial
	issued  map[string]bool // to the people of the roster, by decimal serial
}

// NewPast is that of these CAs and revoked certificates.
func NewPast(cas []*x509.Certificate, revoked ...*big.Int) Past {
	past := Past{CAs: cas, revoked: make(map[string]bool, len(revoked)), issued: map[string]bool{}}
	for _, serial := range revoked {
		past.revoked[serial.String()] = true
	}
	return past
}

// Issued are certificates that the people of a roster ever had.
func (p Past) Issued(people []Person) Past {
	for _, person := range people {
		for _, c := range person.Certificates {
			p.issued[c.Serial] = true
		}
	}
	return p
}

// Past reads all CAs, those in force too, and all that they took back.
func (f Folder) Past() (Past, error) {
	var cas []*x509.Certificate
	var revoked []*big.Int
	for number := 1; number <= f.mark.Signing; number++ {
		replaced := !slices.Contains(f.mark.numbers(), number) // and so lets nobody in, whatever became of its files
		ca, err := f.certificate(caFile(number, "ca.crt"))
		if replaced && err != nil {
			continue
		}
		if err != nil {
			return Past{}, err
		}
		cas = append(cas, ca)
		list, err := f.revocations(number)
		if replaced && err != nil {
			continue
		}
		if err != nil {
			return Past{}, err
		}
		for _, r := range list {
			revoked = append(revoked, r.Serial)
		}
	}
	return NewPast(cas, revoked...), nil
}

// Had tells whether a CA was ever this authority's.
func (p Past) Had(ca *x509.Certificate) bool { return slices.ContainsFunc(p.CAs, ca.Equal) }

// TookBack tells whether a certificate was ever revoked here.
func (p Past) TookBack(serial *big.Int) bool { return p.revoked[serial.String()] }

// Gave tells whether somebody of the roster ever had a certificate.
func (p Past) Gave(serial *big.Int) bool { return p.issued[serial.String()] }
