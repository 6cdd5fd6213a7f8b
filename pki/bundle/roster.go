// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// MaxNoteLength keeps a roster of 10,000 people within [MaxAccessBytes] and a
// listing readable.
const MaxNoteLength = 256

func openPerson(path string, raw json.RawMessage) (Person, error) {
	doc, err := readObject(path, raw, "name", "serials", "address", "groups", "note")
	if err != nil {
		return Person{}, err
	}
	var p Person
	if p.Name, err = doc.text("name", "a string: a common name"); err != nil {
		return Person{}, err
	}
	if doc.has("serials") {
		const allowed = "a list of serial numbers, each a string of decimal digits"
		texts, err := doc.texts("serials", allowed)
		if err != nil {
			return Person{}, err
		}
		for i, s := range texts {
			serial, ok := parseSerial(s)
			if !ok {
				return Person{}, doc.refuse(fmt.Sprintf("serials[%d]", i), "is "+strconv.Quote(shorten(s)), allowed)
			}
			p.Serials = append(p.Serials, serial)
		}
	}
	if doc.has("address") {
		const allowed = "a string: an IPv4 address such as \"10.0.255.10\""
		s, err := doc.text("address", allowed)
		if err != nil {
			return Person{}, err
		}
		if p.Address, err = netip.ParseAddr(s); err != nil {
			return Person{}, doc.refuse("address", "is "+strconv.Quote(shorten(s)), allowed)
		}
	}
	if doc.has("groups") {
		if p.Groups, err = doc.texts("groups", "a list of group names"); err != nil {
			return Person{}, err
		}
	}
	if doc.has("note") {
		if p.Note, err = doc.text("note", allowedNote); err != nil {
			return Person{}, err
		}
	}
	return p, nil
}

// parseSerial takes the one decimal form of a positive number. RFC 5280 limits
// a serial to 20 octets, which is 49 digits.
func parseSerial(s string) (*big.Int, bool) {
	if len(s) > 49 {
		return nil, false
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.Sign() <= 0 || n.String() != s {
		return nil, false
	}
	return n, true
}

const allowedNote = "a string of 1 to 256 bytes without control characters"

// checkRoster is what must hold of people, whether they are read or sealed.
func checkRoster(roster []Person) error {
	names, serials, addresses := map[string]int{}, map[string]int{}, map[netip.Addr]int{}
	for i, p := range roster {
		refuse := func(field, problem, allowed string) error {
			return &FieldError{Field: fmt.Sprintf("roster[%d].%s", i, field), Problem: problem, Allowed: allowed}
		}
		if err := CheckPersonName(p.Name); err != nil {
			return refuse("name", "is refused ("+err.Error()+")", "a common name of the safe alphabet")
		}
		if other, twice := names[p.Name]; twice {
			return refuse("name", fmt.Sprintf("is %q, as is that of roster[%d]", p.Name, other), "of one person")
		}
		names[p.Name] = i
		for _, serial := range p.Serials {
			if other, twice := serials[serial.String()]; twice {
				return refuse("serials", fmt.Sprintf("has %s, as has that of roster[%d]", serial, other), "of one person, each serial once")
			}
			serials[serial.String()] = i
		}
		if p.Address.IsValid() {
			if !p.Address.Is4() || p.Address.IsUnspecified() || p.Address.IsLoopback() || p.Address.IsMulticast() || p.Address.IsLinkLocalUnicast() || p.Address == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
				return refuse("address", "is "+p.Address.String(), "an IPv4 address that one machine can have")
			}
			if other, twice := addresses[p.Address]; twice {
				return refuse("address", fmt.Sprintf("is %s, as is that of %q", p.Address, roster[other].Name), "of one person")
			}
			addresses[p.Address] = i
		}
		groups := map[string]bool{}
		for _, g := range p.Groups {
			if err := CheckName(g); err != nil {
				return refuse("groups", "is refused ("+err.Error()+")", "a list of names")
			}
			if groups[g] {
				return refuse("groups", fmt.Sprintf("has %q twice", g), "a list of different names")
			}
			groups[g] = true
		}
		if err := CheckNote(p.Note); err != nil {
			return refuse("note", err.Error(), allowedNote)
		}
	}
	return nil
}

// CheckNote refuses a note that is too long, or holds what turns or hides text.
func CheckNote(s string) error {
	if len(s) > MaxNoteLength {
		return fmt.Errorf("has %d bytes", len(s))
	}
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	for _, r := range s {
		// Also the characters that turn or hide text in a listing.
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("has %q in it", r)
		}
	}
	return nil
}
