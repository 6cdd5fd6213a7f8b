// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// TestDescribe has one thing change at a time.
func TestDescribe(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	serials := func(numbers ...int64) (all []*big.Int) {
		for _, n := range numbers {
			all = append(all, big.NewInt(n))
		}
		return all
	}
	ann := bundle.Person{Name: "ann", Serials: serials(1), Groups: []string{"dev", "ops"}, Note: "Tokyo", Address: netip.MustParseAddr("10.0.255.2")}
	bob := bundle.Person{Name: "bob", Serials: serials(2)}
	list := a.CRL(1, serials(8, 9)...)
	was := bundle.Access{CRL: list, Roster: []bundle.Person{ann, bob}}
	whole := remote{server: stored{value: bundle.NewSecret([]byte("x"))}, opened: server, access: was}
	broken := whole
	broken.access, broken.accessErr = bundle.Access{}, errors.New("it is cut off")
	guessed, overwritten := broken, broken
	guessed.guessed, overwritten.access = was, was
	edited := func(edit func(*bundle.Person)) []bundle.Person {
		changed := ann
		edit(&changed)
		return []bundle.Person{changed, bob}
	}
	for name, c := range map[string]struct {
		roster    []bundle.Person
		revoked   []*big.Int // nil: as before
		there     remote
		lines     []string
		forgotten []string
	}{
		"nothing":    {was.Roster, nil, whole, nil, nil},
		"added":      {append(edited(func(*bundle.Person) {}), bundle.Person{Name: "cid"}), nil, whole, []string{"added    cid"}, nil},
		"removed":    {was.Roster[1:], nil, whole, []string{"removed  ann"}, []string{"ann"}},
		"address":    {edited(func(p *bundle.Person) { p.Address = netip.MustParseAddr("10.0.255.9") }), nil, whole, []string{"changed  ann: address from 10.0.255.2 to 10.0.255.9"}, nil},
		"no address": {edited(func(p *bundle.Person) { p.Address = netip.Addr{} }), nil, whole, []string{"changed  ann: address from 10.0.255.2 to none"}, nil},
		"groups and note": {edited(func(p *bundle.Person) { p.Groups, p.Note = nil, "\u6771\u4eac" }), nil, whole,
			[]string{"changed  ann: groups from dev ops to none, note from \"Tokyo\" to \"\u6771\u4eac\""}, nil},
		"renewed": {[]bundle.Person{{Name: "ann", Serials: serials(1, 3), Groups: ann.Groups, Note: ann.Note, Address: ann.Address}, {Name: "bob", Serials: serials(2, 4)}}, nil, whole,
			[]string{"changed  ann, bob: 1 certificate more"}, nil},
		"replaced":      {edited(func(p *bundle.Person) { p.Serials = serials(5, 6) }), nil, whole, []string{"changed  ann: 2 certificates more, 1 certificate fewer"}, nil},
		"imported name": {edited(func(p *bundle.Person) { p.CommonName = "A\u202eB" }), nil, whole, []string{`changed  ann: imported name from "" to "A\u202eB"`}, nil},
		"revoked":       {was.Roster, serials(7, 8, 9), whole, []string{"revoked  3 certificates, 2 before"}, nil},
		"as many":       {was.Roster, serials(7, 9), whole, []string{"revoked  2 certificates, 2 before: 1 more, and 1 fell out"}, nil},
		"broken":        {was.Roster, nil, broken, []string{"repair   what is there is not whole (it is cut off): it is written anew", "people   ann, bob: whom it had cannot be read"}, nil},
		"guessed":       {was.Roster[1:], nil, guessed, []string{"repair   what is there is not whole (it is cut off): it is written anew", "removed  ann"}, nil},
		"overwritten":   {was.Roster[1:], nil, overwritten, []string{"repair   what is there is not whole (it is cut off): it is written anew", "removed  ann"}, []string{"ann"}},
	} {
		access := bundle.Access{CRL: list, Roster: c.roster}
		if c.revoked != nil {
			access.CRL = a.CRL(1, c.revoked...)
		}
		lines, removed := describe(server, access, c.there)
		if diff := cmp.Diff(c.lines, lines); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(c.forgotten, removed); diff != "" {
			t.Errorf("%s: removed: %s", name, diff)
		}
	}
}

// TestDescribeMany has so many different changes that not each gets a line.
func TestDescribeMany(t *testing.T) {
	var before, now []bundle.Person
	for i := range mostChanges + 3 {
		p := bundle.Person{Name: fmt.Sprintf("p%02d", i)}
		before = append(before, p)
		p.Note = p.Name
		now = append(now, p)
	}
	lines, _ := describePeople(now, before)
	if len(lines) != mostChanges+1 || lines[mostChanges-1] != `changed  p19: note from "" to "p19"` || lines[mostChanges] != "changed  p20, p21, p22" {
		t.Errorf("%q", lines)
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "less than 1 %", 0.0099: "less than 1 %", 0.01: "1 %", 0.561: "57 %", 1: "100 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %q, want %q", share, got, want)
		}
	}
}
