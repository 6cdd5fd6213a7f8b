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

// Revocable is a certificate that can be taken back: a CA in force signed it.
type Revocable struct {
	Name        string // in the certificate: another program's may hold anything
	Serial      *big.Int
	NotAfter    time.Time
	ca          int               // the CA that signed it, in ca/
	certificate *x509.Certificate // for the log; nil, where its file is lost
}

// Kept finds a certificate that is kept here, by its serial.
func (f Folder) Kept(serial *big.Int) (Revocable, error) {
	certificate, err := f.certificate(certificateFileOf(serial))
	if errors.Is(err, fs.ErrNotExist) {
		return Revocable{}, fmt.Errorf("finding the certificate with the serial %s: there is none of it in %q; \"vpnami-pki show NAME\" has those of a person; one that another program signed with this CA is revoked with --foreign", serial, f.at("certificates"))
	}
	if err != nil {
		return Revocable{}, fmt.Errorf("finding the certificate with the serial %s: %w; \"--foreign\" revokes it all the same", serial, err)
	}
	return f.revocable(certificate)
}

func (f Folder) revocable(certificate *x509.Certificate) (Revocable, error) {
	number, err := f.signerOf(certificate)
	if err != nil {
		return Revocable{}, fmt.Errorf("revoking the certificate %s: %w", certificate.SerialNumber, err)
	}
	return Revocable{certificate.Subject.CommonName, certificate.SerialNumber, certificate.NotAfter, number, certificate}, nil
}

// OfRoster are certificates of a person, of CAs in force. The roster has all that it
// takes to revoke them, whatever became of their own files.
func (f Folder) OfRoster(p Person, issued []Issued) ([]Revocable, error) {
	var all []Revocable
	for _, c := range issued {
		serial, ok := parseSerial(c.Serial)
		if !ok {
			return nil, fmt.Errorf("reading the roster: %q has the serial %q, which is no number", p.Name, c.Serial)
		}
		r := Revocable{p.Name, serial, c.NotAfter, c.CA, nil}
		if certificate, err := f.certificate(certificateFileOf(serial)); err == nil && certificate.SerialNumber.Cmp(serial) == 0 {
			r.Name, r.NotAfter, r.certificate = certificate.Subject.CommonName, certificate.NotAfter, certificate
		}
		all = append(all, r)
	}
	return all, nil
}

// CheckRevocable refuses certificates that cannot be revoked, before a passphrase is
// asked for: one that is revoked already, and those of the gateway itself, which would
// not start any more.
func (f Folder) CheckRevocable(certificates ...Revocable) error {
	all, _, err := f.inForce()
	if err != nil {
		return err
	}
	revoked := map[string]Revocation{}
	for _, r := range slices.Concat(all...) {
		revoked[r.Serial.String()] = r
	}
	for _, c := range certificates {
		err := f.checkNotGateway(c.Serial)
		if r, is := revoked[c.Serial.String()]; err == nil && is {
			err = alreadyRevoked(r)
		}
		if err != nil {
			return fmt.Errorf("revoking the certificate %s: %w", c.Serial, err)
		}
	}
	return nil
}

// CheckForeign is [Folder.CheckRevocable] of serials of which some or all are not kept
// here: another program signed them with a CA that was taken over.
func (f Folder) CheckForeign(serials ...*big.Int) error {
	revoked, err := f.Revocations()
	if err != nil {
		return err
	}
	for _, serial := range serials {
		if err := f.checkForeign(serial, revoked); err != nil {
			return fmt.Errorf("revoking the certificate %s: %w", serial, err)
		}
	}
	return nil
}

func (f Folder) checkForeign(serial *big.Int, revoked [][]Revocation) error {
	if serial.BitLen() > longestSerialBits {
		return errors.New("no certificate has a number of more than 20 octets: is it a fingerprint?")
	}
	if c, err := f.Kept(serial); err == nil {
		return f.CheckRevocable(c)
	}
	for _, ca := range f.cas {
		if ca.SerialNumber.Cmp(serial) == 0 {
			return fmt.Errorf("it is that of the CA itself (%s): \"vpnami-pki rollover\" replaces a CA", nameOf(ca))
		}
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
	return f.checkNotGateway(serial)
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

// checkNotGateway refuses the certificates of the gateway itself. One of them whose
// file is lost keeps nobody from revoking: no gateway gets it any more.
func (f Folder) checkNotGateway(serial *big.Int) error {
	for _, name := range []string{"server.crt", "probe.crt"} {
		c, err := f.certificate(serverFile(f.mark.Server, name))
		if err == nil && c.SerialNumber.Cmp(serial) == 0 {
			return fmt.Errorf("it is that of the gateway itself (%s): give the gateway another one first, with \"vpnami-pki renew-server\"", c.Subject.CommonName)
		}
	}
	return nil
}

// signerOf is the number of the CA in force that signed a certificate.
func (f Folder) signerOf(certificate *x509.Certificate) (int, error) {
	for i, ca := range f.cas {
		err := certificate.CheckSignatureFrom(ca)
		if err == nil {
			return f.mark.numbers()[i], nil
		}
		if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); weak {
			return 0, fmt.Errorf("it is signed with %s, and no gateway takes it; \"--foreign\" revokes it all the same", certificate.SignatureAlgorithm)
		}
	}
	return 0, errors.New("no CA in force has signed it, so nobody comes in with it; \"--foreign\" revokes its number all the same")
}

// SignersOf are the places in [Folder.CAs] of the CAs that signed certificates,
// whose keys it takes to revoke them.
func (f Folder) SignersOf(certificates ...Revocable) ([]int, error) {
	var places []int
	for _, c := range certificates {
		place := slices.Index(f.mark.numbers(), c.ca)
		if place < 0 {
			return nil, fmt.Errorf("revoking the certificate %s: no CA in force has signed it: try again", c.Serial)
		}
		places = append(places, place)
	}
	slices.Sort(places)
	return slices.Compact(places), nil
}

// Revoke takes certificates back for good: they are logged, listed, and on the
// newly signed CRLs. The issuers are at least those of their CAs. A command that was
// killed before the log has the list has revoked nobody and is to be given again; what
// one was to revoke that was killed after that, the next one takes over. What this one
// took over is returned, also beside an error.
func (f Folder) Revoke(issuers []Issuer, reason Reason, certificates ...Revocable) ([]TakenOver, error) {
	all := eachOf(issuers)
	for _, c := range certificates {
		if err := c.on(all, reason); err != nil {
			return nil, err
		}
	}
	return f.revoke(all)
}

func eachOf(issuers []Issuer) []turn {
	var all []turn
	for _, issuer := range issuers {
		all = append(all, turn{issuer: issuer})
	}
	return all
}

// on puts a certificate among what its CA is to take back.
func (c Revocable) on(all []turn, reason Reason) error {
	i := slices.IndexFunc(all, func(t turn) bool { return t.issuer.number == c.ca })
	if i < 0 {
		return fmt.Errorf("revoking the certificate %s: the key of its CA is not open: try again", c.Serial)
	}
	all[i].add(c.NotAfter, reason, Entry{Action: "revoke", Name: loggable(c.Name), Certificate: c.certificate, Serial: c.Serial})
	return nil
}

// add has one more certificate taken back, until it ends.
func (t *turn) add(notAfter time.Time, reason Reason, entry Entry) {
	entry.Detail, entry.CA = reason.String(), t.issuer.certificate
	t.more = append(t.more, Revocation{Serial: entry.Serial, NotAfter: notAfter, At: t.issuer.now.UTC().Truncate(time.Second), Reason: reason})
	t.entries = append(t.entries, entry)
}

// RevokeForeign is [Folder.Revoke] of serials, of all CAs in force. Of a certificate
// that is not kept here it cannot be told which CA signed it, nor when it ends: it
// stays on the lists of all, for as long as those last.
func (f Folder) RevokeForeign(issuers []Issuer, reason Reason, serials ...*big.Int) ([]TakenOver, error) {
	revoked, err := f.Revocations()
	if err != nil {
		return nil, err
	}
	all := eachOf(issuers)
	for _, serial := range serials {
		if c, err := f.Kept(serial); err == nil {
			if err := c.on(all, reason); err != nil {
				return nil, err
			}
			continue
		}
		for i := range all {
			if _, is := listed(revoked[i], serial); is {
				continue
			}
			all[i].add(f.cas[i].NotAfter, reason, Entry{Action: "revoke-foreign", Name: serial.String(), Serial: serial})
		}
	}
	return f.revoke(all)
}

func (f Folder) revoke(all []turn) ([]TakenOver, error) {
	all = slices.DeleteFunc(all, func(t turn) bool { return len(t.more) == 0 })
	if len(all) == 0 {
		return nil, nil
	}
	for i, t := range all {
		var err error
		if all[i].gathered, err = f.gather(t.issuer.number, t.issuer.certificate, new(big.Int), t.more...); err != nil {
			return nil, f.brokenOff(err, all)
		}
	}
	signed, err := f.sign(all[0].issuer.now, all)
	var over []TakenOver
	for _, list := range signed {
		over = append(over, list.TakenOver...)
	}
	if err != nil {
		return over, f.brokenOff(err, all)
	}
	return over, nil
}

// brokenOff says what became of revocations where not all could be written.
func (f Folder) brokenOff(why error, all []turn) error {
	asked, left := 0, 0
	for _, t := range all {
		asked += len(t.more)
		left += len(f.left(t))
	}
	way := "not all who were to be revoked are, and may be let in still: when that is mended, sign the list with \"vpnami-pki crl\" and give the revocation again"
	switch left {
	case asked:
		way = "who was to be revoked may be let in still; try again when that is mended"
	case 0:
		way = "who was to be revoked is, and gateways can be told only when the list is signed: when that is mended, with \"vpnami-pki crl\""
	}
	return fmt.Errorf("revoking: %w: %s", why, way)
}

// nameOf is a certificate's name as it may stand in a log.
func nameOf(c *x509.Certificate) string { return loggable(c.Subject.CommonName) }

// loggable is a name as it may stand in a log: that of a certificate which another
// program signed may hold anything.
func loggable(name string) string {
	if bundle.CheckName(name) != nil {
		return strings.Trim(fmt.Sprintf("%+q", name), "\"")
	}
	return name
}
