// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Certificate reads a certificate that was signed here, by its serial.
func (f Folder) Certificate(serial *big.Int) (*x509.Certificate, error) {
	certificate, err := f.certificate(certificateFileOf(serial))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("finding the certificate with the serial %s: there is none of it in %q; \"vpnami-pki show NAME\" has those of a person; one that another program signed with this CA is revoked with --foreign", serial, f.at("certificates"))
	}
	return certificate, err
}

// Certificates reads the given certificates of a person.
func (f Folder) Certificates(issued []Issued) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for _, c := range issued {
		serial, ok := new(big.Int).SetString(c.Serial, 10)
		if !ok {
			return nil, fmt.Errorf("reading the roster: the serial %q is no number", c.Serial)
		}
		certificate, err := f.Certificate(serial)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

// CheckRevocable refuses certificates that cannot be revoked, before a
// passphrase is asked for: one that is revoked already, that of no CA in force,
// and those of the gateway itself, which would not start any more.
func (f Folder) CheckRevocable(certificates ...*x509.Certificate) error {
	all, err := f.Revocations()
	if err != nil {
		return err
	}
	revoked := map[string]Revocation{}
	for _, r := range slices.Concat(all...) {
		revoked[r.Serial.String()] = r
	}
	for _, c := range certificates {
		_, err := f.caOf(c)
		if r, is := revoked[c.SerialNumber.String()]; err == nil && is {
			err = alreadyRevoked(r)
		}
		if err == nil {
			err = f.checkNotOwn(c.SerialNumber)
		}
		if err != nil {
			return fmt.Errorf("revoking the certificate %s: %w", c.SerialNumber, err)
		}
	}
	return nil
}

// CheckForeign is [Folder.CheckRevocable] of a certificate that is not kept
// here: another program signed it with a CA that was taken over.
func (f Folder) CheckForeign(serial *big.Int) error {
	if serial.BitLen() > longestSerialBits {
		return errors.New("no certificate has a number of more than 20 octets: is it a fingerprint?")
	}
	if certificate, err := f.certificate(certificateFileOf(serial)); err == nil {
		if _, err := f.caOf(certificate); err == nil {
			return fmt.Errorf("it is kept here, that of %s: leave --foreign out", nameOf(certificate))
		}
	}
	revoked, err := f.Revocations()
	if err != nil {
		return err
	}
	var last Revocation
	lacking := 0
	for _, list := range revoked {
		r, is := listed(list, serial)
		if !is {
			lacking++ // also one of two, where a command was broken off between
		}
		last = r
	}
	if lacking == 0 {
		return alreadyRevoked(last)
	}
	return f.checkNotOwn(serial)
}

// longestSerialBits are the 20 octets of RFC 5280 section 4.1.2.2.
const longestSerialBits = 160

func listed(list []Revocation, serial *big.Int) (Revocation, bool) {
	i := slices.IndexFunc(list, func(r Revocation) bool { return r.Serial.Cmp(serial) == 0 })
	if i < 0 {
		return Revocation{}, false
	}
	return list[i], true
}

func alreadyRevoked(r Revocation) error {
	return fmt.Errorf("it was revoked on %s (%s)", r.At.Format(time.DateOnly), r.Reason)
}

// checkNotOwn refuses the certificates of the gateway itself, and of the CAs: OpenVPN
// looks for the serials of a whole chain among the revoked, and lets nobody in.
func (f Folder) checkNotOwn(serial *big.Int) error {
	for _, ca := range f.cas {
		if ca.SerialNumber.Cmp(serial) == 0 {
			return fmt.Errorf("it is that of the CA itself (%s), and would shut out everybody: \"vpnami-pki rollover\" replaces a CA", nameOf(ca))
		}
	}
	server, err := f.Server()
	if err != nil {
		return err
	}
	for _, c := range []*x509.Certificate{server.Certificate, server.Probe.Certificate} {
		if c.SerialNumber.Cmp(serial) == 0 {
			return fmt.Errorf("it is that of the gateway itself (%s): give the gateway another one first, with \"vpnami-pki renew-server\"", c.Subject.CommonName)
		}
	}
	return nil
}

// caOf is the place among [Folder.CAs] of the CA that signed a certificate.
func (f Folder) caOf(certificate *x509.Certificate) (int, error) {
	for i, ca := range f.cas {
		err := certificate.CheckSignatureFrom(ca)
		if err == nil {
			return i, nil
		}
		if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); weak {
			return 0, fmt.Errorf("it is signed with %s, and no gateway takes it; \"--foreign\" revokes it all the same", certificate.SignatureAlgorithm)
		}
	}
	return 0, errors.New("no CA in force has signed it")
}

// SignersOf are the places in [Folder.CAs] of the CAs that signed certificates,
// whose keys it takes to revoke them.
func (f Folder) SignersOf(certificates ...*x509.Certificate) ([]int, error) {
	var places []int
	for _, c := range certificates {
		i, err := f.caOf(c)
		if err != nil {
			return nil, fmt.Errorf("looking for who signed the certificate %s: %w", c.SerialNumber, err)
		}
		places = append(places, i)
	}
	slices.Sort(places)
	return slices.Compact(places), nil
}

// Revoke takes certificates back for good: they are logged, listed, and on the
// newly signed CRLs. The issuers are at least those of their CAs. The log comes
// first: where a list cannot be signed, a second line says that it failed, and a
// command that was killed before has revoked nobody and is to be given again.
func (f Folder) Revoke(issuers []Issuer, reason Reason, certificates ...*x509.Certificate) error {
	more := make([][]Revocation, len(issuers))
	var entries []Entry
	for _, c := range certificates {
		place, err := f.caOf(c)
		if err != nil {
			return fmt.Errorf("revoking the certificate %s: %w", c.SerialNumber, err)
		}
		i := slices.IndexFunc(issuers, func(issuer Issuer) bool { return issuer.number == f.mark.numbers()[place] })
		if i < 0 {
			return fmt.Errorf("revoking the certificate %s: the key of its CA is not open: try again", c.SerialNumber)
		}
		more[i] = append(more[i], Revocation{Serial: c.SerialNumber, NotAfter: c.NotAfter, At: issuers[i].now.UTC().Truncate(time.Second), Reason: reason})
		entries = append(entries, Entry{Action: "revoke", Name: nameOf(c), Certificate: c, Detail: reason.String()})
	}
	return f.revoke(issuers, entries, more)
}

// RevokeForeign is [Folder.Revoke] of certificates that are not kept here. It
// cannot be told which CA in force signed them, nor when they end: they stay on
// the lists of all, for as long as those last.
func (f Folder) RevokeForeign(issuers []Issuer, reason Reason, serials ...*big.Int) error {
	revoked, err := f.Revocations()
	if err != nil {
		return err
	}
	more := make([][]Revocation, len(issuers))
	var entries []Entry
	for _, serial := range serials {
		for i, issuer := range issuers {
			if _, is := listed(revoked[i], serial); is {
				continue
			}
			more[i] = append(more[i], Revocation{Serial: serial, NotAfter: f.cas[i].NotAfter, At: issuer.now.UTC().Truncate(time.Second), Reason: reason})
		}
		entries = append(entries, Entry{Action: "revoke-foreign", Name: serial.String(), Detail: reason.String()})
	}
	return f.revoke(issuers, entries, more)
}

// revoke has more revocations for each of the issuers.
func (f Folder) revoke(issuers []Issuer, entries []Entry, more [][]Revocation) error {
	if len(entries) == 0 {
		return nil
	}
	if err := f.Log(issuers[0].now, entries...); err != nil {
		return err
	}
	for i, issuer := range issuers {
		if len(more[i]) == 0 {
			continue
		}
		if _, err := f.SignCRL(issuer, more[i]...); err != nil {
			// The log says already that they are revoked, and nobody takes a line out.
			return errors.Join(fmt.Errorf("revoking: %w: who was to be revoked may be let in still; try again when that is mended", err),
				f.Log(issuers[0].now, failed(entries, more[i:])...))
		}
	}
	return nil
}

// failed are entries that tell of those whose list was not signed.
func failed(entries []Entry, unsigned [][]Revocation) []Entry {
	var out []Entry
	for _, entry := range entries {
		serial := entry.Name // that of a foreign one
		if entry.Certificate != nil {
			serial = entry.Certificate.SerialNumber.String()
		}
		if slices.ContainsFunc(slices.Concat(unsigned...), func(r Revocation) bool { return r.Serial.String() == serial }) {
			entry.Action += "-failed"
			out = append(out, entry)
		}
	}
	return out
}

// nameOf is a certificate's name as it may stand in a log: that of a
// certificate which another program signed may hold anything.
func nameOf(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if bundle.CheckName(name) != nil {
		return strings.Trim(fmt.Sprintf("%+q", name), "\"")
	}
	return name
}
