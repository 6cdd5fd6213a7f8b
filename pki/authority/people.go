// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// Person is one person of the roster with their certificates, as they are in
// people/<name>.json.
type Person struct {
	Schema       int        `json:"schema"`
	Name         string     `json:"name"`
	Address      netip.Addr `json:"address,omitzero"`
	Groups       []string   `json:"groups,omitempty"`
	Note         string     `json:"note,omitempty"`
	Certificates []Issued   `json:"certificates"`
}

// Issued is one certificate of a person.
type Issued struct {
	Serial    string    `json:"serial"` // decimal, as OpenVPN shows it
	SHA256    string    `json:"sha256"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Last is the certificate issued last.
func (p Person) Last() (Issued, bool) {
	if len(p.Certificates) == 0 {
		return Issued{}, false
	}
	return p.Certificates[len(p.Certificates)-1], true
}

// Access is what the gateway is told of the person: the name counts with these
// certificates only.
func (p Person) Access() (bundle.Person, error) {
	out := bundle.Person{Name: p.Name, Address: p.Address, Groups: p.Groups, Note: p.Note}
	for _, c := range p.Certificates {
		serial, ok := new(big.Int).SetString(c.Serial, 10)
		if !ok {
			return bundle.Person{}, fmt.Errorf("reading the roster: %q has the serial %q, which is no number", p.Name, c.Serial)
		}
		out.Serials = append(out.Serials, serial)
	}
	return out, nil
}

// personFile is in small letters, so that "Ann" and "ann" are one name
// everywhere, also where file systems do not tell them apart.
func (f Folder) personFile(name string) string {
	return f.at("people", strings.ToLower(name)+".json")
}

// CheckNew refuses a name that no new person can have.
func (f Folder) CheckNew(name string) error {
	if err := bundle.CheckPersonName(name); err != nil {
		return err
	}
	if strings.EqualFold(name, f.mark.ServerName) {
		return fmt.Errorf("the name %q is the server's", name)
	}
	_, err := os.Lstat(f.personFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the roster: %w", err)
	}
	return fmt.Errorf("the name %q is taken (capitals do not count); see \"vpnami-pki list\"", name)
}

// Client is what a person needs to connect.
type Client struct {
	Name       string
	Pair       Pair
	TLSCryptV2 bundle.Secret
}

// Issue signs for a person who is to be added. Nothing is written.
func (f Folder) Issue(issuer Issuer, name string, life time.Duration) (Client, error) {
	if err := f.CheckNew(name); err != nil {
		return Client{}, err
	}
	text, err := os.ReadFile(f.at("server", "tls-crypt-v2.key"))
	if err != nil {
		return Client{}, fmt.Errorf("reading the tls-crypt-v2 key: %w", err)
	}
	wrapper, err := tlscrypt.ParseServerKey(text)
	if err != nil {
		return Client{}, fmt.Errorf("reading the tls-crypt-v2 key %q: %w (is the file damaged?)", f.at("server", "tls-crypt-v2.key"), err)
	}
	crypt, err := wrapper.NewClientKey(rand.Reader, issuer.now)
	if err != nil {
		return Client{}, err
	}
	pair, err := issuer.pair(name, x509.ExtKeyUsageClientAuth, issuer.until(life))
	if err != nil {
		return Client{}, err
	}
	return Client{Name: name, Pair: pair, TLSCryptV2: bundle.NewSecret(crypt.PEM())}, nil
}

// CheckLife refuses a life that goes beyond the CA's.
func (f Folder) CheckLife(life time.Duration, now time.Time) error {
	if end := now.Add(life); end.After(f.ca.NotAfter) {
		return fmt.Errorf("a certificate until %s would outlive the CA, which ends on %s: give at most %d days",
			end.UTC().Format(time.DateOnly), f.ca.NotAfter.UTC().Format(time.DateOnly), int(f.ca.NotAfter.Sub(now)/(24*time.Hour)))
	}
	return nil
}

// Record keeps a certificate and the fact that it was signed. It comes before
// the certificate is handed out.
func (f Folder) Record(now time.Time, client Client) error {
	certificate := client.Pair.Certificate
	if err := Create(f.at(certificateFile(certificate)), publicFile, bundle.CertificatesPEM(certificate)); err != nil {
		return err
	}
	return f.Log(now, Entry{Action: "issue", Name: client.Name, Certificate: certificate})
}

// Add puts a person into the roster: from here on the next publish lets them
// in.
func (f Folder) Add(client Client) error {
	certificate := client.Pair.Certificate
	sum := sha256.Sum256(certificate.Raw)
	raw, err := encode(Person{Schema: schema, Name: client.Name, Certificates: []Issued{{
		Serial:    certificate.SerialNumber.String(),
		SHA256:    hex.EncodeToString(sum[:]),
		NotBefore: certificate.NotBefore,
		NotAfter:  certificate.NotAfter,
	}}})
	if err != nil {
		return fmt.Errorf("adding %q to the roster: %w", client.Name, err)
	}
	if err := Create(f.personFile(client.Name), privateFile, raw); err != nil {
		return fmt.Errorf("adding %q to the roster: %w", client.Name, err)
	}
	return nil
}

// People reads the roster, by name.
func (f Folder) People() ([]Person, error) {
	entries, err := os.ReadDir(f.at("people"))
	if err != nil {
		return nil, fmt.Errorf("reading the roster: %w", err)
	}
	var people []Person
	for _, entry := range entries {
		// What a crash left of a write begins with a dot.
		if strings.HasPrefix(entry.Name(), ".") || !strings.HasSuffix(entry.Name(), ".json") {
			continue
		}
		raw, err := os.ReadFile(f.at("people", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the roster: %w", err)
		}
		var p Person
		if err := decode(raw, &p); err != nil {
			return nil, fmt.Errorf("reading the roster: %q: %w", f.at("people", entry.Name()), err)
		}
		if p.Schema != schema {
			return nil, fmt.Errorf("reading the roster: %q is of schema %d, this program knows %d", f.at("people", entry.Name()), p.Schema, schema)
		}
		if strings.ToLower(p.Name)+".json" != entry.Name() {
			return nil, fmt.Errorf("reading the roster: %q is of the person %q: was it renamed by hand?", f.at("people", entry.Name()), p.Name)
		}
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	return people, nil
}
