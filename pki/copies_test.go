// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// TestPublishFromAnOldCopy has two copies of a folder, with the same CRL: what
// one added, the other must not take away in silence.
func TestPublishFromAnOldCopy(t *testing.T) {
	a := bundletest.New(t, testNow)
	server, list := a.Server(), a.CRL(1)
	s := &shelf{values: map[string][]byte{}}
	for i, n := range []int{2, 4} {
		if _, err := publishTo(s, server, bundle.Access{CRL: list, Roster: people(n)}, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	before := slices.Clone(s.writes)
	for n, want := range map[int]string{
		2: "publishing under \"vpn\": generation 2 is there, and this folder did not publish it (its last is 1): another copy of it has published since, and this one would remove person-2, person-3: publish from that copy; if this one is meant, say --replace",
		5: "this one would undo what it changed",
	} {
		if _, err := publishTo(s, server, bundle.Access{CRL: list, Roster: people(n)}, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d people: error %v\nwant %q", n, err, want)
		}
	}
	if _, err := publishTo(s, server, bundle.Access{CRL: list, Roster: people(4)}, 1); err != nil {
		t.Errorf("what is there already: %v", err)
	}
	if diff := cmp.Diff(before, s.writes); diff != "" {
		t.Errorf("something was written: %s", diff)
	}
	s.values["vpn/access/000"] = []byte("x")
	if _, err := publishTo(s, server, bundle.Access{CRL: list, Roster: people(2)}, 1); err == nil || !strings.Contains(err.Error(), "might remove people") {
		t.Errorf("what is there cannot be read: %v", err)
	}
}

// TestPublishAfterOneThatBrokeOff has two copies of a folder use one generation:
// what the first of them revoked stays revoked.
func TestPublishAfterOneThatBrokeOff(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	s := &shelf{values: map[string][]byte{}}
	if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(1), Roster: people(3)}, 0); err != nil {
		t.Fatal(err)
	}
	ours := bundle.Access{CRL: a.CRL(2, big.NewInt(11)), Roster: people(3)[1:]}
	s.fail, s.err = "put vpn/access/000", errors.New("denied")
	broken, err := publishTo(s, server, ours, 1)
	if err == nil {
		t.Fatal("nothing was denied")
	}
	s.fail = ""
	head, err := bundle.OpenHead(broken.sealed.Head)
	if err != nil {
		t.Fatal(err)
	}
	last := authority.Publish{Generation: broken.generation, Contents: append(s.contents[:1:1], contentOf(head))}
	if _, err := publishAfter(s, server, ours, last); err != nil { // nobody else has published
		t.Errorf("publishing again: %v", err)
	}

	// The same where this folder has broken off several times, so that its
	// generation is higher than the other's; and where the other revoked somebody.
	for want, theirs := range map[string]bundle.Access{
		"another copy of it has published since":                {CRL: a.CRL(2), Roster: people(2)},
		"1 certificate is revoked there and not in this folder": {CRL: a.CRL(2, big.NewInt(12)), Roster: people(2)},
	} {
		for _, generation := range []uint64{broken.generation, broken.generation + 1, broken.generation + 7} {
			s = &shelf{values: map[string][]byte{}}
			for i, access := range []bundle.Access{{CRL: a.CRL(1), Roster: people(3)}, theirs} {
				if _, err := publishTo(s, server, access, uint64(i)); err != nil {
					t.Fatal(err)
				}
			}
			last.Generation = generation
			if _, err := publishAfter(s, server, ours, last); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("over another copy's publish, with the generation %d: %v, want %q", generation, err, want)
			}
		}
	}
}

// TestPublishKeepsCAs: a copy of the folder from before a roll-over does not take
// the second CA away, whose people would be locked out; the newer copy ends the
// first.
func TestPublishKeepsCAs(t *testing.T) {
	a, next := bundletest.New(t, testNow), bundletest.New(t, testNow)
	s := &shelf{values: map[string][]byte{}}
	before := a.Server()
	after := before
	after.CA = []*x509.Certificate{next.CA, a.CA}
	both := bundle.Access{CRL: next.CRL(1), PreviousCRL: a.CRL(1)}
	if _, err := publishTo(s, after, both, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := publishTo(s, before, bundle.Access{CRL: a.CRL(1), Roster: people(1)}, 1); err == nil || !strings.Contains(err.Error(), "a CA is there that this folder does not have in force") {
		t.Errorf("an old copy takes a CA away: %v", err)
	}
	there, err := readRemote(t.Context(), vault{api: s}, "vpn")
	if err != nil {
		t.Fatal(err)
	}
	ended := next.Server()
	ended.CA = after.CA[:1]
	if err := checkReplace(ended, authority.NewPast(after.CA), "vpn", there); err != nil {
		t.Errorf("the newer copy cannot end the first: %v", err)
	}
	// A place that missed the whole of a roll-over is this authority's all the same.
	missed := there
	missed.opened.CA = []*x509.Certificate{a.CA}
	if err := checkReplace(ended, authority.NewPast(after.CA), "vpn", missed); err != nil {
		t.Errorf("a place that missed the roll-over: %v", err)
	}
	s.had = []*x509.Certificate{a.CA}
	if _, err := publishTo(s, ended, bundle.Access{CRL: next.CRL(1)}, 1); err != nil {
		t.Fatal(err)
	}
	if there, err = readRemote(t.Context(), vault{api: s}, "vpn"); err != nil {
		t.Fatal(err)
	}
	if err := checkReplace(after, authority.NewPast(after.CA), "vpn", there); err == nil || !strings.Contains(err.Error(), "has ended the roll-over") {
		t.Errorf("a copy from before the end brings the first back: %v", err)
	}
	there.opened = after
	if lines, _ := describe(ended, bundle.Access{CRL: next.CRL(1)}, there); !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "no longer the CA") }) {
		t.Errorf("it is not said: %q", lines)
	}
}

// TestPublishWithoutHead: where the head alone was lost, as Terraform makes a secret
// anew, what the shards revoke is not taken back by an old copy of the folder.
func TestPublishWithoutHead(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	s := &shelf{values: map[string][]byte{}}
	for i, access := range []bundle.Access{{CRL: a.CRL(1), Roster: people(3)}, {CRL: a.CRL(2, big.NewInt(12)), Roster: people(2)}} {
		if _, err := publishTo(s, server, access, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	s.values["vpn/access"] = nil
	s.values["vpn/access/001"] = []byte("of an older publish, which took more")
	for want, access := range map[string]bundle.Access{
		"revoke --foreign --reason unspecified --serial 12\"":   {CRL: a.CRL(1), Roster: people(3)},
		"1 certificate is revoked there and not in this folder": {CRL: a.CRL(3), Roster: people(3)},
	} {
		if _, err := publishTo(s, server, access, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an old copy: %v, want %q", err, want)
		}
	}
	if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(2, big.NewInt(12)), Roster: people(2)}, 2); err != nil {
		t.Errorf("the newest copy repairs it: %v", err)
	}
}
