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
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNoteLength keeps a roster of 10,000 people within [MaxAccessBytes] and a
// listing readable.
const MaxNoteLength = 256

func openPerson(path string, raw json.RawMessage) (Person, error) {
	doc, err := readObject(path, raw, "name", "common_name", "serials", "address", "groups", "note")
	if err != nil {
		return Person{}, err
	}
	var p Person
	if p.Name, err = doc.text("name", "a string: a common name"); err != nil {
		return Person{}, err
	}
	if doc.has("common_name") {
		if p.CommonName, err = doc.text("common_name", allowedCommonName); err != nil {
			return Person{}, err
		}
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

const allowedCommonName = "a string of 1 to 64 bytes without control characters, which is no reserved name, and serials with it"

// CheckCommonName refuses a common name that OpenVPN cannot be let see: one
// with control characters, and one that means something else (as in
// [CheckPersonName]). It may be of the safe alphabet: to OpenVPN capitals count,
// in a roster they do not, so of "ann" and "Ann" one is bound as this.
func CheckCommonName(s string) error {
	if s == "" || len(s) > MaxNameLength {
		return fmt.Errorf("has %d bytes", len(s))
	}
	if CheckName(s) == nil && CheckPersonName(s) != nil {
		return fmt.Errorf("is %q, which is reserved", s)
	}
	if ClientFile(s) == "." || ClientFile(s) == ".." {
		return errors.New("is a folder's name")
	}
	return CheckNote(s)
}

// ClientFile is the name of the per-client file that OpenVPN looks for: of a
// common name without control characters, a slash alone is replaced (gen_path
// in src/openvpn/misc.c; seen with 2.6.14, as are bytes beyond ASCII kept).
func ClientFile(commonName string) string { return strings.ReplaceAll(commonName, "/", "_") }

const allowedNote = "a string of 1 to 256 bytes without control characters"

// checkRoster is what must hold of people, whether they are read or sealed.
func checkRoster(roster []Person) error {
	files := map[string]int{} // per-client files of common names, by their name
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
		if p.CommonName != "" {
			if err := CheckCommonName(p.CommonName); err != nil {
				return refuse("common_name", err.Error(), allowedCommonName)
			}
			if len(p.Serials) == 0 {
				return refuse("serials", "is missing", "given where \"common_name\" is")
			}
			files[ClientFile(p.CommonName)] = i
		}
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
	// Two who share a per-client file would share what is in it.
	for i, p := range roster {
		refuse := func(i int, file string) error {
			return &FieldError{Field: fmt.Sprintf("roster[%d].common_name", i), Problem: fmt.Sprintf("is %q to OpenVPN, which is somebody else's", file), Allowed: "that of one person: issue to a safe name"}
		}
		if other, shared := files[p.Name]; shared {
			return refuse(other, p.Name)
		}
		if file := ClientFile(p.CommonName); p.CommonName != "" && files[file] != i {
			return refuse(i, file)
		}
		if file := ClientFile(p.CommonName); file == ProbeName {
			return refuse(i, file)
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
