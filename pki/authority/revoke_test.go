// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// rollingOver is an authority of two CAs, with what both sign with.
func rollingOver(t *testing.T) (Folder, []Issuer) {
	t.Helper()
	folder := newFolder(t)
	folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	issuers, err := folder.UnlockThose(Keys{Passphrase: passphrase}, now, folder.Places())
	if err != nil {
		t.Fatal(err)
	}
	return folder, issuers
}

// TestForeignIsRevokedByEveryCA breaks a revocation off between the lists of two
// CAs: given again, it must not be taken for done, and the list that has it must
// not have it twice.
func TestForeignIsRevokedByEveryCA(t *testing.T) {
	folder, issuers := rollingOver(t)
	serial := big.NewInt(0xABC)
	if _, err := folder.RevokeForeign(issuers[:1], Superseded, serial); err != nil {
		t.Fatal(err)
	}
	if err := folder.CheckForeign(serial); err != nil {
		t.Fatalf("given again: %v", err)
	}
	if _, err := folder.RevokeForeign(issuers, Superseded, serial); err != nil {
		t.Fatal(err)
	}
	lists, err := folder.CRLs(now)
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range lists {
		if len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(serial) != 0 {
			t.Errorf("list %d has %d entries", i, len(list.RevokedCertificateEntries))
		}
	}
	if err := folder.CheckForeign(serial); err == nil || !strings.Contains(err.Error(), "it was revoked on 2026-11-23 (superseded)") {
		t.Errorf("once more: %v", err)
	}
}

// TestRevokedStaysSoWhateverTheClockSaid signs the list once with a clock that is
// years ahead, for which the revoked certificate has ended long ago.
func TestRevokedStaysSoWhateverTheClockSaid(t *testing.T) {
	folder := newFolder(t)
	client := added(t, folder, "ann")
	serial := client.Pair.Certificate.SerialNumber
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, client.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	ahead := now.Add(ClientLife + EndedFor + CRLLife) // the CA is good then
	if _, err := folder.SignCRL(unlock(t, folder, ahead)); err != nil {
		t.Fatal(err)
	}
	if lists, err := folder.CRLs(ahead); err != nil || len(lists[0].RevokedCertificateEntries) != 0 {
		t.Errorf("what ended long ago is listed: %v", err)
	}
	standing, err := folder.Standing(now)
	if err != nil {
		t.Fatal(err)
	}
	ann, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	if live := standing.Live(ann); len(live) != 0 {
		t.Errorf("revoked, and let in again: %v", live)
	}
	for _, at := range []time.Time{now, ahead} {
		if err := renewable(folder, ann, at); err == nil || !strings.Contains(err.Error(), "they were revoked on") {
			t.Errorf("revoked, and renewed at %s: %v", at, err)
		}
	}
	if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "or the clock was ahead when it did") {
		t.Errorf("the list without it can be published: %v", err)
	}
	if _, err := folder.RenewCRL(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	lists, err := folder.CRLs(now)
	if err != nil {
		t.Fatal(err)
	}
	if listed := lists[0].RevokedCertificateEntries; len(listed) != 1 || listed[0].SerialNumber.Cmp(serial) != 0 {
		t.Errorf("the list signed by a clock that is right has %v", listed)
	}
}

// TestRevokeThatFailsIsNotLogged: what no list could be signed of is no revocation, also
// by the log.
func TestRevokeThatFailsIsNotLogged(t *testing.T) {
	folder := newFolder(t)
	client := added(t, folder, "ann")
	before, err := os.ReadFile(folder.at(logFile))
	if err != nil {
		t.Fatal(err)
	}
	issuer := unlock(t, folder, now)
	issuer.key = refusing{issuer.key}
	_, err = folder.Revoke([]Issuer{issuer}, KeyCompromise, revocableOf(t, folder, client.Pair.Certificate))
	if err == nil || !strings.Contains(err.Error(), "the key is disabled") || !strings.Contains(err.Error(), "may be let in still") {
		t.Errorf("error %v", err)
	}
	if after, err := os.ReadFile(folder.at(logFile)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%v, the log goes on with %s", err, after[len(before):])
	}
}

// refusing is a key that does not sign, as KMS's when it is disabled.
type refusing struct{ crypto.Signer }

func (refusing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is disabled")
}

// TestRevokedOnTheListStaysSo: where an older revoked.tsv is put back, who stands on
// the signed list alone is not published as let in, and the next list has them.
func TestRevokedOnTheListStaysSo(t *testing.T) {
	folder := newFolder(t)
	ann, bob := added(t, folder, "ann"), added(t, folder, "bob")
	if err := Create(folder.at(certificateFile(ann.Pair.Certificate)), publicFile, bundle.CertificatesPEM(ann.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder.Path(), "ca/1/revoked.tsv")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	issuers := []Issuer{unlock(t, folder, now)}
	if _, err := folder.Revoke(issuers, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		again func() error
		why   Reason
	}{
		{"the list is signed", func() error { _, err := folder.SignCRL(issuers[0]); return err }, KeyCompromise},
		{"another is revoked", func() error {
			_, err := folder.Revoke(issuers, Unspecified, revocableOf(t, folder, bob.Pair.Certificate))
			return err
		}, KeyCompromise},
		{"the same is", func() error {
			_, err := folder.Revoke(issuers, Superseded, revocableOf(t, folder, ann.Pair.Certificate))
			return err
		}, Superseded},
	} {
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "lacks what the signed list beside it has") {
			t.Errorf("%s: before it: %v", c.name, err)
		}
		if err := c.again(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := folder.CRLs(now); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		revoked, err := folder.Revocations()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if r, is := listed(revoked[0], ann.Pair.Certificate.SerialNumber); !is || r.Reason != c.why || !r.At.Equal(now) || !r.NotAfter.Equal(ann.Pair.Certificate.NotAfter) {
			t.Errorf("%s: %+v, %v", c.name, r, is)
		}
	}
}

// TestRevokedIsNotRenewed, whichever of their certificates came last: a short one,
// for a laptop on loan, had ended by the time that the other was revoked.
func TestRevokedIsNotRenewed(t *testing.T) {
	folder := newFolder(t)
	first := added(t, folder, "ann")
	renewable := func(at time.Time) error {
		t.Helper()
		p, _, err := folder.Person("ann")
		if err != nil {
			t.Fatal(err)
		}
		return renewable(folder, p, at)
	}
	const day = 24 * time.Hour
	again(t, folder, now, 30*day)
	if err := renewable(now.Add(60 * day)); err != nil {
		t.Errorf("one of two has ended: %v", err)
	}
	later := now.Add(60 * day)
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, later)}, KeyCompromise, revocableOf(t, folder, first.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	if err := renewable(later); err == nil || !strings.Contains(err.Error(), "they were revoked on 2027-01-22 (keyCompromise)") {
		t.Errorf("revoked after the other's end: %v", err)
	}
	// Let in again, and at their end: to renew is what anybody would do.
	again(t, folder, later.Add(day), 10*day)
	if err := renewable(later.Add(5 * day)); err != nil {
		t.Errorf("let in again: %v", err)
	}
	if err := renewable(later.Add(50 * day)); err != nil {
		t.Errorf("let in again, and at their end: %v", err)
	}
}

// TestRevokedAfterRolloverIsNotRenewed: a certificate of the CA that was replaced is
// neither revoked nor at its end, and lets nobody in.
func TestRevokedAfterRolloverIsNotRenewed(t *testing.T) {
	folder := newFolder(t)
	added(t, folder, "ann")
	folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	moved := again(t, folder, now, ClientLife)
	if folder, err = folder.EndRollover(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	p, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := renewable(folder, p, now); err != nil {
		t.Errorf("before: %v", err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, Unspecified, revocableOf(t, folder, moved.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	if err := renewable(folder, p, now); err == nil || !strings.Contains(err.Error(), "they were revoked on") {
		t.Errorf("revoked: %v", err)
	}
}

// TestRevokedInTheFutureAndLetInAgain: the clock was ahead when somebody was revoked;
// who has a certificate in force is not out.
func TestRevokedInTheFutureAndLetInAgain(t *testing.T) {
	folder := newFolder(t)
	first := added(t, folder, "ann")
	ahead := now.Add(200 * 24 * time.Hour)
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, ahead)}, Unspecified, revocableOf(t, folder, first.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	again(t, folder, now, 90*24*time.Hour)
	p, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := renewable(folder, p, now); err != nil {
		t.Error(err)
	}
}

// TestRenewalLooksAtTheList: with an older revoked.tsv in place, who stands on the
// signed list is not renewed.
func TestRenewalLooksAtTheList(t *testing.T) {
	folder := newFolder(t)
	ann := added(t, folder, "ann")
	path := filepath.Join(folder.Path(), "ca/1/revoked.tsv")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, Unspecified, revocableOf(t, folder, ann.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	p, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := renewable(folder, p, now); err == nil || !strings.Contains(err.Error(), "lacks what the signed list beside it has") {
		t.Errorf("error %v", err)
	}
}

// again gives ann of the roster another certificate.
func again(t *testing.T, folder Folder, at time.Time, life time.Duration) Client {
	t.Helper()
	p, _, err := folder.Person("ann")
	if err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := unlock(t, folder, at).Issue(p, wrapper, life)
	if err == nil {
		err = folder.Add(client)
	}
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func renewable(folder Folder, p Person, at time.Time) error {
	renewals, err := folder.Renewals(at)
	if err != nil {
		return err
	}
	return renewals.Check(p)
}
