// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
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
)

// Person is one person of the roster with their certificates, as they are in
// people/<name>.json.
type Person struct {
	Schema       int        `json:"schema"`
	Name         string     `json:"name"`
	CommonName   string     `json:"common_name,omitempty"` // of imported certificates, outside the alphabet
	Address      netip.Addr `json:"address,omitzero"`
	Groups       []string   `json:"groups,omitempty"`
	Note         string     `json:"note,omitempty"`
	Certificates []Issued   `json:"certificates"`
}

// Issued is one certificate of a person.
type Issued struct {
	CA        int       `json:"ca"`     // the CA that signed it, in ca/
	Serial    string    `json:"serial"` // decimal, as OpenVPN shows it
	SHA256    string    `json:"sha256"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Profile   Profile   `json:"profile,omitempty"`
}

// Profile is what the profile of a certificate can connect to.
type Profile string

// The kinds of profile.
const (
	Wrapped   Profile = ""          // a gateway with tls-crypt-v2
	Unwrapped Profile = "unwrapped" // a gateway without: another program made it
	Both      Profile = "both"
)

// Last is the certificate issued last.
func (p Person) Last() (Issued, bool) {
	if len(p.Certificates) == 0 {
		return Issued{}, false
	}
	return p.Certificates[len(p.Certificates)-1], true
}

// Access is what the gateway is told of the person: the name counts with these
// certificates only.
func (p Person) Access(certificates []Issued) (bundle.Person, error) {
	out := bundle.Person{Name: p.Name, Address: p.Address, Groups: p.Groups, Note: p.Note}
	for _, c := range certificates {
		serial, ok := new(big.Int).SetString(c.Serial, 10)
		if !ok {
			return bundle.Person{}, fmt.Errorf("reading the roster: %q has the serial %q, which is no number", p.Name, c.Serial)
		}
		out.Serials = append(out.Serials, serial)
		if c.Profile == Unwrapped {
			// The common name of imported certificates is theirs while one of them is
			// in force, and then free for somebody else.
			out.CommonName = p.CommonName
		}
	}
	return out, nil
}

// personFile is in small letters, so that "Ann" and "ann" are one name
// everywhere, also where file systems do not tell them apart.
func (f Folder) personFile(name string) string {
	return f.at("people", strings.ToLower(name)+".json")
}

// Person reads one person of the roster; false means that there is none of that
// name.
func (f Folder) Person(name string) (Person, bool, error) {
	// What can be nobody's name is no path either.
	if named := bundle.CheckName(name) == nil; !named {
		return Person{}, false, nil
	}
	p, err := f.person(strings.ToLower(name) + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return Person{}, false, nil
	}
	return p, err == nil, err
}

// People reads the roster, by name.
func (f Folder) People() ([]Person, error) {
	entries, err := os.ReadDir(f.at("people"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the roster: %w: %s; if nobody was ever in it, make the folder (git keeps no empty ones)", err, putBack)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the roster: %w", err)
	}
	var people []Person
	for _, entry := range entries {
		// What a crash left of a write begins with a dot.
		if strings.HasPrefix(entry.Name(), ".") || !strings.HasSuffix(entry.Name(), ".json") {
			continue
		}
		p, err := f.person(entry.Name())
		if err != nil {
			return nil, err
		}
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	return people, nil
}

// Addresses are those that people own, also people who cannot come in now.
func (f Folder) Addresses() (map[netip.Addr]bool, error) {
	people, err := f.People()
	if err != nil {
		return nil, err
	}
	taken := map[netip.Addr]bool{}
	for _, p := range people {
		if p.Address.IsValid() {
			taken[p.Address] = true
		}
	}
	return taken, nil
}

// Change replaces what the roster has of a person: address, groups and note.
func (f Folder) Change(now time.Time, person Person) error {
	raw, err := encode(person)
	if err != nil {
		return fmt.Errorf("changing %q in the roster: %w", person.Name, err)
	}
	err = f.replaceLogged(now, NewFile{f.personFile(person.Name), privateFile, raw},
		Entry{Action: "change", Name: person.Name, Detail: fmt.Sprintf("address %s, groups %q, note %q", person.Address, person.Groups, person.Note)})
	if err != nil {
		return fmt.Errorf("changing %q in the roster: %w", person.Name, err)
	}
	return nil
}

func (f Folder) person(file string) (Person, error) {
	path := f.at("people", file)
	raw, err := os.ReadFile(path)
	if err != nil {
		return Person{}, fmt.Errorf("reading the roster: %w", err)
	}
	var p Person
	if err := decode(raw, &p); err != nil {
		return Person{}, fmt.Errorf("reading the roster: %q: %w: %s", path, err, putBack)
	}
	if p.Schema != schema {
		return Person{}, fmt.Errorf("reading the roster: %q is of schema %d, this program knows %d", path, p.Schema, schema)
	}
	for _, c := range p.Certificates {
		if c.CA > f.mark.Signing {
			return Person{}, fmt.Errorf("reading the roster: %q has a certificate of CA %d, and %s knows %d alone: it is older than the roster: put the newest back; if it is lost, write \"signing\": %d in it, and as \"server\" the highest number in %q; and \"previous\": %d only if log.jsonl has no \"rollover-end\" after its last \"rollover-start\" (one that a line with \"-failed\" takes back does not count): that CA lets in again whom the end cut off", p.Name, c.CA, markFile, f.mark.Signing, c.CA, f.at("server"), c.CA-1)
		}
	}
	if strings.ToLower(p.Name)+".json" != file {
		return Person{}, fmt.Errorf("reading the roster: %q is of the person %q: was it renamed by hand?", path, p.Name)
	}
	return p, nil
}
