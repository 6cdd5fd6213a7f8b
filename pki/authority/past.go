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
	newer   []*x509.Certificate // of these, those that came after the oldest in force, and are not
	revoked map[string]bool     // by decimal serial
	issued  map[string]string   // the people of the roster, by decimal serial of what they ever had
}

// NewPast is that of these CAs and revoked certificates.
func NewPast(cas []*x509.Certificate, revoked ...*big.Int) Past {
	past := Past{CAs: cas, revoked: make(map[string]bool, len(revoked)), issued: map[string]string{}}
	for _, serial := range revoked {
		past.revoked[serial.String()] = true
	}
	return past
}

// Issued are certificates that the people of a roster ever had.
func (p Past) Issued(people []Person) Past {
	for _, person := range people {
		for _, c := range person.Certificates {
			p.issued[c.Serial] = person.Name
		}
	}
	return p
}

// Past reads all CAs, those in force too, and all that they took back.
func (f Folder) Past() (Past, error) {
	cas := slices.Clone(f.cas)
	var newer []*x509.Certificate
	for _, number := range f.replaced() {
		// It lets nobody in, whatever became of its files.
		ca, err := f.certificate(caFile(number, "ca.crt"))
		if err != nil {
			continue
		}
		cas = append(cas, ca)
		if number > slices.Min(f.mark.numbers()) && !slices.Contains(f.mark.Abandoned, number) {
			newer = append(newer, ca)
		}
	}
	inForce, _, err := f.inForce()
	if err != nil {
		return Past{}, err
	}
	replaced, _ := f.tookBack()
	var revoked []*big.Int
	for _, r := range slices.Concat(append(inForce, replaced)...) {
		revoked = append(revoked, r.Serial)
	}
	past := NewPast(cas, revoked...)
	past.newer = newer
	return past, nil
}

// Had tells whether a CA was ever this authority's.
func (p Past) Had(ca *x509.Certificate) bool { return slices.ContainsFunc(p.CAs, ca.Equal) }

// Newer tells whether a CA came after one that is still in force, and is not in force
// itself. That is none that was replaced: authority.json was put back from before it.
func (p Past) Newer(ca *x509.Certificate) bool { return slices.ContainsFunc(p.newer, ca.Equal) }

// TookBack tells whether a certificate was ever revoked here.
func (p Past) TookBack(serial *big.Int) bool { return p.revoked[serial.String()] }

// Gave tells whether somebody of the roster ever had a certificate.
func (p Past) Gave(serial *big.Int) bool {
	_, is := p.Owner(serial)
	return is
}

// Owner is the name of who in the roster ever had a certificate.
func (p Past) Owner(serial *big.Int) (string, bool) {
	name, is := p.issued[serial.String()]
	return name, is
}
