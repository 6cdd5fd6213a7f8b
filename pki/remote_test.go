// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// race is a shelf on which two copies of a folder publish at once: one has looked whether
// it is alone, and then the other revokes somebody, publishes, and reads it back. What the
// first puts after that is not in force, and hides what the other put.
type race struct {
	*shelf
	ca     *bundletest.Authority
	server bundle.Server
	ours   bundle.Access     // of the copy whose publish broke off
	last   authority.Publish // of the same
	gone   *big.Int          // whom the other revoked
}

func newRace(t *testing.T) race {
	t.Helper()
	r := race{shelf: &shelf{values: map[string][]byte{}}, ca: bundletest.New(t, testNow), gone: big.NewInt(12)}
	r.server = r.ca.Server()
	if _, err := publishTo(r.shelf, r.server, bundle.Access{CRL: r.ca.CRL(1), Roster: people(3)}, 0); err != nil {
		t.Fatal(err)
	}
	r.last = authority.Publish{Generation: 1, Contents: r.contents[:1:1]}
	theirs := func() {
		if _, err := publishTo(r.shelf, r.server, bundle.Access{CRL: r.ca.CRL(2, r.gone), Roster: people(3)[1:]}, 1); err != nil {
			t.Fatal(err)
		}
	}
	r.ours = bundle.Access{CRL: r.ca.CRL(2), Roster: people(4)}
	there, err := readRemote(t.Context(), vault{api: r.shelf}, "vpn")
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.over(t, there, publishOrder{prefix: "vpn"})
	if err != nil {
		t.Fatal(err)
	}
	v := vault{api: &meddled{shelf: r.shelf, before: "vpn/access/000", do: theirs}}
	if err := p.write(t.Context(), v, func(change) {}); err == nil || !strings.Contains(err.Error(), "another has published there meanwhile") {
		t.Fatalf("the first: %v", err)
	}
	r.last = authority.Publish{Generation: p.generation, Contents: append(r.last.Contents, "of what broke off")}
	return r
}

// over is a publish of the copy that broke off.
func (r race) over(t *testing.T, there remote, order publishOrder) (publication, error) {
	t.Helper()
	o := offer{server: r.server, access: r.ours, past: authority.NewPast(r.server.CA, r.ours.Revoked()...), last: r.last}
	return o.over(t.Context(), vault{api: r.shelf}, there, order, testNow)
}

func (r race) there(t *testing.T) remote {
	t.Helper()
	there, err := readRemote(t.Context(), vault{api: r.shelf}, "vpn")
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// TestPublishAfterARace: whom the other revoked stays out, also with --replace, and is
// told of by serial.
func TestPublishAfterARace(t *testing.T) {
	r := newRace(t)
	there := r.there(t)
	if there.accessErr == nil {
		t.Fatal("what is there is whole")
	}
	for _, replace := range []bool{false, true} {
		if _, err := r.over(t, there, publishOrder{prefix: "vpn", replace: replace}); err == nil || !strings.Contains(err.Error(), "1 certificate is revoked there and not in this folder") || !strings.Contains(err.Error(), "--serial 12") {
			t.Errorf("with --replace: %v: %v", replace, err)
		}
	}
	// Revoked here as well, it is another's publish still.
	r.ours = bundle.Access{CRL: r.ca.CRL(3, r.gone), Roster: people(4)[2:]}
	if _, err := r.over(t, there, publishOrder{prefix: "vpn"}); err == nil || !strings.Contains(err.Error(), "this one would remove person-1: publish from that copy") {
		t.Errorf("over another copy's: %v", err)
	}
	p, err := r.over(t, there, publishOrder{prefix: "vpn", replace: true})
	if err == nil {
		err = errors.Join(p.unknown, p.write(t.Context(), vault{api: r.shelf}, func(change) {}), p.verify(t.Context(), vault{api: r.shelf}, testNow))
	}
	if err != nil {
		t.Fatal(err)
	}
	if there := r.there(t); there.accessErr != nil || len(there.access.Revoked()) != 1 {
		t.Errorf("%v: revoked are %v", there.accessErr, there.access.Revoked())
	}
}

// TestPublishOverWhatIsLost: where the other's publish is not to be had any more, it is
// said what may come of it, before --replace is given and then.
func TestPublishOverWhatIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(*shelf)
		why  string
	}{
		"written over twice": {func(s *shelf) { s.before["vpn/access/000"] = s.values["vpn/access/000"] }, `secret "vpn/access/000" does not have it, nor had it before`},
		"made anew":          {func(s *shelf) { delete(s.before, "vpn/access/000") }, `secret "vpn/access/000" does not have it, nor had it before`},
		"AWS denies it": {func(s *shelf) {
			s.fail, s.err = "before vpn/access/000", &smithy.GenericAPIError{Code: "AccessDeniedException"}
		}, "they need secretsmanager:GetSecretValue on it"},
	} {
		r := newRace(t)
		c.lose(r.shelf)
		there := r.there(t)
		const says = "what was published last is not to be had any more ("
		if _, err := r.over(t, there, publishOrder{prefix: "vpn"}); err == nil || !strings.Contains(err.Error(), "say --replace; before that: "+says) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: refused with %v", name, err)
		}
		if p, err := r.over(t, there, publishOrder{prefix: "vpn", replace: true}); err != nil || p.unknown == nil || !strings.Contains(p.unknown.Error(), says) {
			t.Errorf("%s: with --replace %v, and %v is said", name, err, p.unknown)
		}
	}
	// No answer is none of that, nor is one that a minute later is another.
	for _, c := range []error{
		errors.New("connection reset"),
		&smithy.GenericAPIError{Code: "ThrottlingException"}, &smithy.GenericAPIError{Code: "InternalServiceError"}, &smithy.GenericAPIError{Code: "ExpiredTokenException"},
	} {
		r := newRace(t)
		r.fail, r.err = "before vpn/access/000", c
		if _, err := readRemote(t.Context(), vault{api: r.shelf}, "vpn"); !errors.Is(err, c) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// TestPublishOverAPartOfAnother has a publish of several shards break off after the first,
// and its laptop be lost: whom it was to revoke nobody can read in the one shard.
func TestPublishOverAPartOfAnother(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	s := &shelf{values: map[string][]byte{}}
	var all []*big.Int
	for i := range int64(20_000) {
		all = append(all, new(big.Int).Exp(big.NewInt(i+3), big.NewInt(11), nil))
	}
	before := all[100:] // with more in front of them every shard is another
	if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(1, before...), Roster: people(2)}, 0); err != nil || s.values["vpn/access/001"] == nil {
		t.Fatalf("%v, or there is no second shard", err)
	}
	s.fail, s.err = "put vpn/access/001", errors.New("connection reset")
	if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(2, all...), Roster: people(2)}, 1); err == nil || !strings.Contains(err.Error(), "1 of ") {
		t.Fatal(err)
	}
	there, err := readRemote(t.Context(), vault{api: s}, "vpn")
	if err != nil || len(there.access.Revoked()) != len(before) {
		t.Fatalf("%v: of what was published whole %d are revoked, not %d", err, len(there.access.Revoked()), len(before))
	}
	ours := offer{server: server, access: bundle.Access{CRL: a.CRL(3, before...), Roster: people(2)}, past: authority.NewPast(server.CA, before...)}
	const says = `secret "vpn/access/000" has what alone cannot be read, as of a publish that broke off: whom that revokes and this folder does not would come in again`
	for name, c := range map[string]struct {
		last    authority.Publish
		replace bool
		refused bool
		told    bool
	}{
		"an older copy":                   {authority.Publish{}, false, true, true},
		"it says --replace":               {authority.Publish{}, true, false, true},
		"the copy that published last":    {authority.Publish{Generation: 1, Contents: s.contents, Told: "whole"}, false, false, true},
		"the same, whose own broke off":   {authority.Publish{Generation: 2, Contents: append(s.contents[:1:1], "broken off")}, false, false, false},
		"a folder of another publish":     {authority.Publish{Generation: 9, Contents: []string{"another"}}, false, true, true},
		"the same with --replace of late": {authority.Publish{Generation: 9, Contents: []string{"another"}, Told: "whole"}, true, false, true},
	} {
		ours.last = c.last
		p, err := ours.over(t.Context(), vault{api: s}, there, publishOrder{prefix: "vpn", replace: c.replace}, testNow)
		said := fmt.Sprint(err, p.unknown)
		if (err != nil) != c.refused || strings.Contains(said, says) != c.told {
			t.Errorf("%s: %s", name, said)
		}
	}
}
