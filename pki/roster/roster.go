// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package roster reads lists of people as an operator writes them, in CSV or
// YAML. It runs on the operator's machine.
//
// CSV has a head line with the columns name, address, groups, note in any
// order, of which only name is required; several groups have a semicolon
// between them:
//
//	name,address,groups,note
//	suzuki,10.0.255.10,dev;ops,Tokyo
//	sato,auto,,
//
// YAML is a list of the same:
//
//   - name: suzuki
//     address: 10.0.255.10
//     groups: [dev, ops]
//     note: Tokyo
package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// MaxBytes is what a list of a hundred thousand people takes, ten times over.
const MaxBytes = 64 << 20

// Entry is one person of a list.
type Entry struct {
	Name    string
	Address Address
	Groups  []string
	Note    string
	Line    int // where it is in the list
}

// Address is an address that somebody is to have.
type Address struct {
	Own  netip.Addr // zero: none is given
	Auto bool       // the next that is free
}

// ParseAddress reads an IPv4 address or "auto"; empty is none.
func ParseAddress(s string) (Address, error) {
	switch s {
	case "":
		return Address{}, nil
	case "auto":
		return Address{Auto: true}, nil
	}
	own, err := netip.ParseAddr(s)
	if err != nil || !own.Is4() {
		return Address{}, fmt.Errorf("the address %q is none: give an IPv4 address such as \"10.0.255.10\", or \"auto\"", s)
	}
	return Address{Own: own}, nil
}

// Parse reads a list; a file name that ends in .yaml or .yml has YAML, any
// other CSV. What is wrong is told with its line.
func Parse(name string, text []byte) ([]Entry, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("it has %d bytes; %d is the limit", len(text), MaxBytes)
	}
	read := parseCSV
	if lower := strings.ToLower(name); strings.HasSuffix(lower, ".yaml") || strings.HasSuffix(lower, ".yml") {
		read = parseYAML
	}
	entries, err := read(text)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New("there is nobody in it")
	}
	names, addresses := map[string]int{}, map[netip.Addr]int{}
	for _, e := range entries {
		if err := check(e); err != nil {
			return nil, fmt.Errorf("line %d: %w", e.Line, err)
		}
		if other, twice := names[strings.ToLower(e.Name)]; twice {
			return nil, fmt.Errorf("line %d: the name %q is in line %d too (capitals do not count)", e.Line, e.Name, other)
		}
		names[strings.ToLower(e.Name)] = e.Line
		if own := e.Address.Own; own.IsValid() {
			if other, twice := addresses[own]; twice {
				return nil, fmt.Errorf("line %d: the address %s is in line %d too", e.Line, own, other)
			}
			addresses[own] = e.Line
		}
	}
	return entries, nil
}

func check(e Entry) error {
	if err := bundle.CheckPersonName(e.Name); err != nil {
		return err
	}
	return CheckAttributes(e.Groups, e.Note)
}

// CheckAttributes refuses groups and notes that a gateway would refuse.
func CheckAttributes(groups []string, note string) error {
	seen := map[string]bool{}
	for _, g := range groups {
		if err := bundle.CheckName(g); err != nil {
			return fmt.Errorf("the groups: %w", err)
		}
		if seen[g] {
			return fmt.Errorf("the group %q is there twice", g)
		}
		seen[g] = true
	}
	if err := bundle.CheckNote(note); err != nil {
		return fmt.Errorf("the note %w", err)
	}
	return nil
}

func columns() []string { return []string{"name", "address", "groups", "note"} }

func parseCSV(text []byte) ([]Entry, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // as spreadsheets begin it
	reader := csv.NewReader(bytes.NewReader(text))
	reader.TrimLeadingSpace = true
	head, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it is empty: it begins with a line of the columns %s", strings.Join(columns(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the head line: %w: it must have the columns %s", err, strings.Join(columns(), ", "))
	}
	at := map[string]int{}
	for i, column := range head {
		column = strings.ToLower(strings.TrimSpace(column))
		if !slices.Contains(columns(), column) {
			return nil, fmt.Errorf("line 1: the column %q is unknown: the columns are %s", column, strings.Join(columns(), ", "))
		}
		if _, twice := at[column]; twice {
			return nil, fmt.Errorf("line 1: the column %q is there twice", column)
		}
		at[column] = i
	}
	if _, there := at["name"]; !there {
		return nil, fmt.Errorf("line 1: there is no column \"name\": the columns are %s", strings.Join(columns(), ", "))
	}
	var entries []Entry
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		field := func(column string) string {
			if i, there := at[column]; there {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		address, err := ParseAddress(field("address"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		var groups []string
		for g := range strings.SplitSeq(field("groups"), ";") {
			if g = strings.TrimSpace(g); g != "" {
				groups = append(groups, g)
			}
		}
		entries = append(entries, Entry{Name: field("name"), Address: address, Groups: groups, Note: field("note"), Line: line})
	}
}
