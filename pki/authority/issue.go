// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// CheckName refuses a name that nobody can have: one outside the alphabet, or
// one of the gateway itself.
func (f Folder) CheckName(name string) error {
	if err := bundle.CheckPersonName(name); err != nil {
		return err
	}
	if strings.EqualFold(name, f.mark.ServerName) {
		return fmt.Errorf("the name %q is the server's", name)
	}
	return checkNotCA(f.CA(), name)
}

// CheckNew refuses a name that cannot be issued to anew. That of somebody whose
// certificates are all revoked or at their end can: what was revoked stays so,
// because the roster binds a name to serial numbers.
func (f Folder) CheckNew(name string, now time.Time) error {
	if err := f.CheckName(name); err != nil {
		return err
	}
	if err := checkSigns(f.CA(), now); err != nil {
		return err
	}
	if err := f.checkLookalike(name, now); err != nil {
		return err
	}
	p, known, err := f.Person(name)
	if err != nil || !known {
		return err
	}
	standing, err := f.Standing(now)
	if err != nil {
		return err
	}
	if len(standing.Live(p)) > 0 {
		return fmt.Errorf("the name %q is taken (capitals do not count); see \"vpnami-pki list\"; \"renew\" gives the same person another certificate, \"revoke\" frees the name", name)
	}
	if p.Name != name {
		return fmt.Errorf("the name %q was %q before: write it so, or choose another", name, p.Name)
	}
	return nil
}

// checkLookalike refuses a name that OpenVPN makes of an imported one: "a_b" of
// "a/b". To read the roster for nothing is what takes longest in a large
// authority.
func (f Folder) checkLookalike(name string, now time.Time) error {
	if !strings.Contains(name, "_") || !now.Before(f.mark.ImportedUntil) {
		return nil
	}
	people, err := f.People()
	if err != nil {
		return err
	}
	for _, p := range people {
		if p.CommonName != "" && bundle.ClientFile(p.CommonName) == name {
			return fmt.Errorf("the name %q is what OpenVPN makes of %+q, the imported name of %q: choose another", name, p.CommonName, p.Name)
		}
	}
	return nil
}

// Client is what a person needs to connect.
type Client struct {
	Person     // without certificates, when the person is new
	Pair       Pair
	TLSCryptV2 bundle.Secret
	Profile    Profile
	ca         int
}

// putBackWrapper is the way where the key of tls-crypt-v2 is lost: everybody's profile
// is wrapped in it.
const putBackWrapper = putBack + "; if there is none, the secret that was published last has it, PREFIX/server in its field \"tls_crypt_v2\""

// Wrapper reads the key under which those of people for tls-crypt-v2 are made.
func (f Folder) Wrapper() (tlscrypt.ServerKey, error) {
	path := f.at(serverFile(f.mark.Server, "tls-crypt-v2.key"))
	text, err := os.ReadFile(path)
	if err != nil {
		return tlscrypt.ServerKey{}, fmt.Errorf("reading the tls-crypt-v2 key: %w: %s", err, putBackWrapper)
	}
	wrapper, err := tlscrypt.ParseServerKey(text)
	if err != nil {
		return tlscrypt.ServerKey{}, fmt.Errorf("reading the tls-crypt-v2 key %q: %w (is the file damaged?): %s", path, err, putBackWrapper)
	}
	return wrapper, nil
}

// Issue signs for a person, who may be of the roster or not. Nothing is
// written.
func (i Issuer) Issue(person Person, wrapper tlscrypt.ServerKey, life time.Duration) (Client, error) {
	crypt, err := wrapper.NewClientKey(rand.Reader, i.now)
	if err != nil {
		return Client{}, err
	}
	pair, err := i.pair(person.Name, x509.ExtKeyUsageClientAuth, i.until(life))
	if err != nil {
		return Client{}, err
	}
	return Client{Person: person, Pair: pair, TLSCryptV2: bundle.NewSecret(crypt.PEM()), ca: i.number}, nil
}

// Certify signs for a person whose key was made elsewhere: the client that it
// returns has none.
func (i Issuer) Certify(person Person, public crypto.PublicKey, wrapper tlscrypt.ServerKey, life time.Duration) (Client, error) {
	crypt, err := wrapper.NewClientKey(rand.Reader, i.now)
	if err != nil {
		return Client{}, err
	}
	certificate, err := i.certify(person.Name, public, x509.ExtKeyUsageClientAuth, i.until(life))
	if err != nil {
		return Client{}, err
	}
	return Client{Person: person, Pair: Pair{Certificate: certificate}, TLSCryptV2: bundle.NewSecret(crypt.PEM()), ca: i.number}, nil
}

// CheckLife refuses a life that goes beyond the CA's.
func (f Folder) CheckLife(life time.Duration, now time.Time) error {
	if end := now.Add(life); end.After(f.CA().NotAfter) {
		return fmt.Errorf("a certificate until %s would outlive the CA, which ends on %s: give at most %d days",
			end.UTC().Format(time.DateOnly), f.CA().NotAfter.UTC().Format(time.DateOnly), int(f.CA().NotAfter.Sub(now)/(24*time.Hour)))
	}
	return nil
}

// PrepareRecord logs that certificates were signed, and brings them to the disk.
// It comes before any is handed out: one that is lost in a crash is known by the
// log.
func (f Folder) PrepareRecord(now time.Time, clients ...Client) (Prepared, error) {
	var files []NewFile
	var entries []Entry
	for _, c := range clients {
		certificate := c.Pair.Certificate
		files = append(files, NewFile{f.at(certificateFile(certificate)), publicFile, bundle.CertificatesPEM(certificate)})
		entries = append(entries, Entry{Action: "issue", Name: c.Name, Certificate: certificate})
	}
	staged, err := Stage(files)
	if err != nil {
		return Prepared{}, err
	}
	if err := f.Log(now, entries...); err != nil {
		return Prepared{}, errors.Join(err, staged.Discard())
	}
	return staged.Flush()
}

// Add puts people with their certificates into the roster, or a certificate to
// those who are in it: from here on the next publish lets them in.
func (f Folder) Add(clients ...Client) error {
	joining, err := f.PrepareJoining(clients...)
	if err != nil {
		return err
	}
	return joining.Add()
}

// Joining are people who are about to be in the roster.
type Joining struct{ added, changed Prepared }

// PrepareJoining brings to the disk what [Joining.Add] puts into the roster.
func (f Folder) PrepareJoining(clients ...Client) (Joining, error) {
	var added, changed []NewFile
	for _, c := range clients {
		certificate := c.Pair.Certificate
		sum := sha256.Sum256(certificate.Raw)
		person := c.Person
		person.Schema = schema
		person.Certificates = append(person.Certificates[:len(person.Certificates):len(person.Certificates)], Issued{
			CA:        c.ca,
			Serial:    certificate.SerialNumber.String(),
			SHA256:    hex.EncodeToString(sum[:]),
			NotBefore: certificate.NotBefore,
			NotAfter:  certificate.NotAfter,
			Profile:   c.Profile,
		})
		raw, err := encode(person)
		if err != nil {
			return Joining{}, fmt.Errorf("adding %q to the roster: %w", c.Name, err)
		}
		file := NewFile{f.personFile(c.Name), privateFile, raw}
		if len(c.Certificates) == 0 {
			added = append(added, file)
		} else {
			changed = append(changed, file)
		}
	}
	var joining Joining
	var err error
	if joining.added, err = Prepare(added); err != nil {
		return Joining{}, fmt.Errorf("adding to the roster: %w", err)
	}
	if joining.changed, err = Prepare(changed); err != nil {
		return Joining{}, errors.Join(fmt.Errorf("adding certificates to the roster: %w", err), joining.added.Discard())
	}
	return joining, nil
}

// Add puts the people into the roster.
func (j Joining) Add() error {
	if err := j.changed.Replace(); err != nil {
		return errors.Join(fmt.Errorf("adding certificates to the roster: %w", err), j.added.Discard())
	}
	if err := j.added.Create(); err != nil {
		return fmt.Errorf("adding to the roster: %w", err)
	}
	return nil
}

// Discard leaves the people out of the roster.
func (j Joining) Discard() error { return errors.Join(j.added.Discard(), j.changed.Discard()) }
