// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"math/big"
	"slices"
	"testing"
	"time"
)

// TestRevokedWithAClockAhead: what seems to have ended is in force when the clock is
// right again, and is taken back all the same.
func TestRevokedWithAClockAhead(t *testing.T) {
	folder := newFolder(t)
	ann := added(t, folder, "ann")
	ahead := now.Add(ClientLife + EndedFor + 24*time.Hour)
	p, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	standing, err := folder.Standing(ahead)
	if err != nil {
		t.Fatal(err)
	}
	if live := standing.Live(p); len(live) > 0 {
		t.Errorf("after a year %d are in force", len(live))
	}
	certificates, err := folder.OfRoster(p, standing.Unrevoked(p))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, ahead)}, KeyCompromise, certificates...); err != nil {
		t.Fatal(err)
	}
	if standing, err = folder.Standing(now); err != nil || len(standing.Live(p)) > 0 {
		t.Errorf("%s is in force again, %v", ann.Pair.Certificate.SerialNumber, err)
	}
	// The list, which passes over what seemed to have ended, is refused until it is
	// signed again.
	if _, err := folder.CRLs(now); err == nil {
		t.Error("a list that lacks what is revoked is taken")
	}
}

// TestIssuedWithAClockAhead is in force from then on, and said to be so.
func TestIssuedWithAClockAhead(t *testing.T) {
	folder := newFolder(t)
	client, err := issueTo(t, folder, now.Add(30*24*time.Hour), "ann")
	if err == nil {
		err = folder.Add(client)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]State{now: NotYet, now.Add(30 * 24 * time.Hour): Good} {
		standing, err := folder.Standing(at)
		if err != nil {
			t.Fatal(err)
		}
		// The name is theirs, and the roster has them.
		if got := standing.State(p.Certificates[0]); got != want || len(standing.Live(p)) != 1 {
			t.Errorf("on %s it is %q, and %d are live", at, got, len(standing.Live(p)))
		}
	}
}

// TestRolloverWithAClockAhead makes a CA that nobody takes yet: another takes its
// place, and the one before goes on.
func TestRolloverWithAClockAhead(t *testing.T) {
	folder := newFolder(t)
	keeper := UnderPassphrase{Passphrase: passphrase}
	folder, err := folder.StartRollover(unlock(t, folder, now.AddDate(1, 0, 0)), keeper)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.EndRollover(unlock(t, folder, now)); err == nil {
		t.Error("a CA that has not begun is the only one")
	}
	first, early := folder.CAs()[1], folder.CA()
	if folder, err = folder.StartRollover(unlock(t, folder, now), keeper); err != nil {
		t.Fatal(err)
	}
	if folder.CA().Equal(early) || !folder.CAs()[1].Equal(first) {
		t.Errorf("the CAs are %s and %s", folder.CAs()[0].Subject, folder.CAs()[1].Subject)
	}
	if _, err := folder.StartRollover(unlock(t, folder, now), keeper); err == nil {
		t.Error("a third is begun")
	}
	past, err := folder.Past()
	if err != nil || !past.Had(early) || past.Newer(early) || past.Newer(first) || past.Newer(folder.CA()) {
		t.Errorf("the past: %v", err)
	}
	if folder, err = folder.EndRollover(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	if past, err = folder.Past(); err != nil || past.Newer(first) || past.Newer(early) || !slices.ContainsFunc(past.CAs, first.Equal) {
		t.Errorf("the past: %v", err)
	}
}

// TestRenewedWithAClockAhead is not moved to the second CA: nobody can connect with
// what has not begun. Nor does it count when who was revoked is looked at, once the
// second CA was abandoned.
func TestRenewedWithAClockAhead(t *testing.T) {
	folder := newFolder(t)
	ann := added(t, folder, "ann")
	keeper := UnderPassphrase{Passphrase: passphrase}
	ahead := now.AddDate(0, 6, 0)
	folder, err := folder.StartRollover(unlock(t, folder, ahead), keeper)
	if err != nil {
		t.Fatal(err)
	}
	person := func() Person {
		t.Helper()
		p, _, err := folder.Person("ann")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	again, err := unlock(t, folder, ahead).Issue(person(), wrapper, ClientLife)
	if err == nil {
		err = folder.Add(again)
	}
	if err != nil {
		t.Fatal(err)
	}
	if dependents, err := folder.Dependents(now); err != nil || len(dependents) != 1 {
		t.Errorf("who depends on the first CA: %v, %v", dependents, err)
	}
	if folder, err = folder.StartRollover(unlock(t, folder, now), keeper); err != nil {
		t.Fatal(err)
	}
	issuers, err := folder.UnlockThose(Keys{Passphrase: passphrase}, now, folder.Places())
	if err == nil {
		_, err = folder.Revoke(issuers, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate))
	}
	if err != nil {
		t.Fatal(err)
	}
	// Who was only renewed while the clock was ahead is renewed again.
	bob := Person{Certificates: []Issued{{CA: 1, Serial: "1", NotAfter: ahead.AddDate(1, 0, 0)}, {CA: 2, Serial: "2", NotAfter: ahead.AddDate(1, 0, 0)}}}
	for reason, out := range map[Reason]bool{Superseded: false, Unspecified: true} {
		standing := Standing{now: now, cas: []int{3, 1}, dropped: []int{2}, revoked: map[string]Revocation{"1": {Serial: big.NewInt(1), At: ahead, Reason: reason}}}
		if _, _, is := standing.Out(bob); is != out {
			t.Errorf("revoked as %s: out is %v", reason, is)
		}
	}
	for _, at := range []time.Time{now, ahead.AddDate(0, 1, 0)} {
		renewals, err := folder.Renewals(at)
		if err != nil {
			t.Fatal(err)
		}
		if err := renewals.Check(person()); err == nil {
			t.Errorf("on %s who was revoked is renewed, for a certificate of the CA that was abandoned", at)
		}
	}
}
