// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// isOut fails where somebody could come in, or be published so.
func isOut(t *testing.T, folder Folder, name string, serial *x509.Certificate) {
	t.Helper()
	lists, err := folder.CRLs(now)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, entry := range lists[len(lists)-1].RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(serial.SerialNumber) == 0 {
			return
		}
	}
	t.Errorf("%s can come in", name)
}

// older makes of the log what an older program would have written.
func older(t *testing.T, folder Folder, cut string) {
	t.Helper()
	raw, err := os.ReadFile(folder.at(logFile))
	if err == nil {
		err = os.WriteFile(folder.at(logFile), regexp.MustCompile(cut).ReplaceAll(raw, nil), privateFile)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTakenOverIsLogged: the files of another desk, which revoked bob, come to lie here
// and are signed anew; later this desk's own older ones are put back.
func TestTakenOverIsLogged(t *testing.T) {
	const none = `$^`
	for name, c := range map[string]struct{ before, after string }{
		"by this program":              {none, none},
		"by one that had no hash":      {`,"(crl|revoked)_sha256":"[0-9a-f]+"`, none},
		"by one that told of no first": {`(?m)^.*"action":"sign-crl".*\n`, none},
		"by one that told of none":     {none, `,"revoked_sha256":"[0-9a-f]+"|(?m)^.*"action":"revoke-found".*\n`},
	} {
		t.Run(name, func(t *testing.T) {
			folder := newFolder(t)
			bob := added(t, folder, "bob").Pair.Certificate
			older(t, folder, c.before)
			putBack := readFiles(t, folder)
			other := copied(t, folder)
			if _, err := other.Revoke([]Issuer{unlock(t, other, now)}, KeyCompromise, revocableOf(t, other, bob)); err != nil {
				t.Fatal(err)
			}
			readFiles(t, other)(folder)
			isOut(t, folder, "bob, as they come", bob)
			for _, cut := range []string{c.after, none} {
				if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
					t.Fatal(err)
				}
				older(t, folder, cut)
			}
			putBack(folder)
			if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "lacks what log.jsonl has") {
				t.Errorf("that bob is in again: %v", err)
			}
			if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
				t.Fatal(err)
			}
			isOut(t, folder, "bob", bob)
			if revoked, err := folder.Revocations(); err != nil || len(revoked[0]) != 1 || revoked[0][0].Reason != KeyCompromise {
				t.Errorf("%+v, %v", revoked, err)
			}
		})
	}
}

// TestTakenOverWithoutAKey is [TestTakenOverIsLogged] of a CA that is being replaced, whose
// key is lost.
func TestTakenOverWithoutAKey(t *testing.T) {
	folder := newFolder(t)
	bob := added(t, folder, "bob").Pair.Certificate
	folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	putBack := readFiles(t, folder)
	other := copied(t, folder)
	issuers, err := other.UnlockThose(Keys{Passphrase: passphrase}, now, other.Places())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Revoke(issuers, KeyCompromise, revocableOf(t, other, bob)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(folder.at(caFile(1, lockedKeyFile))); err != nil {
		t.Fatal(err)
	}
	mend := func(wantOver int) {
		t.Helper()
		g, err := folder.Gather(1, new(big.Int))
		if err != nil {
			t.Fatal(err)
		}
		if signed, err := folder.SignGathered(now, nil, g); err != nil || signed[0].Number != nil || len(signed[0].TakenOver) != wantOver {
			t.Errorf("%+v, %v", signed, err)
		}
	}
	readFiles(t, other)(folder)
	mend(0)
	isOut(t, folder, "bob", bob)
	logged, err := os.ReadFile(folder.at(logFile))
	if err != nil {
		t.Fatal(err)
	}
	mend(0)
	if again, err := os.ReadFile(folder.at(logFile)); err != nil || !bytes.Equal(logged, again) {
		t.Errorf("what is known is logged again: %v, %s", err, again[len(logged):])
	}
	putBack(folder)
	if err := folder.CheckListed(); err == nil || !strings.Contains(err.Error(), "lacks what log.jsonl has") {
		t.Errorf("that bob is in again: %v", err)
	}
	mend(1)
	mend(0)
	if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "it lacks the certificate") {
		t.Errorf("the list without bob: %v", err)
	}
}

// TestOlderRevokedFileAfterAClockAhead: the list whose signer had a clock a year ahead
// passes over who is revoked, so that it does not tell that an older revoked.tsv lacks
// them.
func TestOlderRevokedFileAfterAClockAhead(t *testing.T) {
	folder := newFolder(t)
	ann, bob := added(t, folder, "ann").Pair.Certificate, added(t, folder, "bob").Pair.Certificate
	other := copied(t, folder)
	path := folder.at(caFile(1, "revoked.tsv"))
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Revoke([]Issuer{unlock(t, other, now)}, Unspecified, revocableOf(t, other, bob)); err != nil {
		t.Fatal(err)
	}
	asMany, err := os.ReadFile(other.at(caFile(1, "revoked.tsv")))
	if err != nil {
		t.Fatal(err)
	}
	ahead := now.Add(ClientLife + EndedFor + 24*time.Hour)
	if _, err := folder.SignCRL(unlock(t, folder, ahead)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"older": first, "another desk's, with as many": asMany} {
		there := copied(t, folder)
		if err := os.WriteFile(there.at(caFile(1, "revoked.tsv")), raw, privateFile); err != nil {
			t.Fatal(err)
		}
		if _, err := there.CRLs(now); err == nil || !strings.Contains(err.Error(), "lacks what log.jsonl has, which tells of another revoked.tsv beside CRL number 3") {
			t.Errorf("%s: that ann is in again: %v", name, err)
		}
		if _, err := there.SignCRL(unlock(t, there, now)); err != nil {
			t.Fatal(err)
		}
		isOut(t, there, name+": ann", ann)
	}
	// A log that began anew with these files does not know whom an older one lacks.
	if err := os.Remove(folder.at(logFile)); err != nil {
		t.Fatal(err)
	}
	if err := folder.Log(now, Entry{Action: "publish"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, first, privateFile); err != nil {
		t.Fatal(err)
	}
	if err := folder.CheckListed(); err == nil || !strings.Contains(err.Error(), "began anew") {
		t.Errorf("with a log that began anew: %v", err)
	}
}

// TestLogLostAndAnotherDesk: a log that began anew tells of the files that were there
// then, and takes none for them that another desk has signed since.
func TestLogLostAndAnotherDesk(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			folder := newFolder(t)
			ann, bob, carol := added(t, folder, "ann").Pair.Certificate, added(t, folder, "bob").Pair.Certificate, added(t, folder, "carol").Pair.Certificate
			other := copied(t, folder)
			if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann)); err != nil {
				t.Fatal(err)
			}
			if err := folder.CheckLogged(); err != nil {
				t.Error(err)
			}
			if err := lose(folder.at(logFile)); err != nil {
				t.Fatal(err)
			}
			if err := folder.CheckLogged(); err == nil || !strings.Contains(err.Error(), putBack) {
				t.Errorf("that it is lost: %v", err)
			}
			atLoss := readFiles(t, folder)
			if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, carol)); err != nil {
				t.Fatal(err)
			}
			if err := folder.CheckLogged(); err != nil {
				t.Error(err)
			}
			if _, err := other.Revoke([]Issuer{unlock(t, other, now)}, KeyCompromise, revocableOf(t, other, bob)); err != nil {
				t.Fatal(err)
			}
			readFiles(t, other)(folder)
			if _, err := folder.SignCRL(unlock(t, folder, now)); err == nil || !strings.Contains(err.Error(), "began anew") {
				t.Errorf("another desk's list of the number is taken: %v", err)
			}
			// Those that were there are whole, with what was revoked since.
			atLoss(folder)
			if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
				t.Fatal(err)
			}
			isOut(t, folder, "ann", ann)
			isOut(t, folder, "carol", carol)
		})
	}
}

// TestLogThatBeganAnewKnowsWhatItWrote: a kill between revoked.tsv and the list leaves
// two that were never there together, and the first has all.
func TestLogThatBeganAnewKnowsWhatItWrote(t *testing.T) {
	folder := newFolder(t)
	ann, bob := added(t, folder, "ann").Pair.Certificate, added(t, folder, "bob").Pair.Certificate
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, bob)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(folder.at(logFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(folder.at(caFile(1, "crl.pem")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder.at(caFile(1, "crl.pem")), before, publicFile); err != nil {
		t.Fatal(err)
	}
	if signed, err := folder.SignCRL(unlock(t, folder, now)); err != nil || signed.Listed != 2 {
		t.Errorf("signed %+v, %v", signed, err)
	}
	isOut(t, folder, "ann", ann)
	isOut(t, folder, "bob", bob)
}

// TestLogWithAGap: an older log before one that began anew tells of files, and what was
// revoked between the two is in neither.
func TestLogWithAGap(t *testing.T) {
	folder := newFolder(t)
	ann, bob := added(t, folder, "ann").Pair.Certificate, added(t, folder, "bob").Pair.Certificate
	if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	older, err := os.ReadFile(folder.at(logFile))
	if err != nil {
		t.Fatal(err)
	}
	putBack := readFiles(t, folder)
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, bob)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(folder.at(logFile)); err != nil {
		t.Fatal(err)
	}
	if err := folder.Log(now, Entry{Action: "issue", Name: "dave"}); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann)); err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(folder.at(logFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder.at(logFile), append(older, newer...), privateFile); err != nil {
		t.Fatal(err)
	}
	putBack(folder)
	if _, err := folder.SignCRL(unlock(t, folder, now)); err == nil || !strings.Contains(err.Error(), "began anew") {
		t.Errorf("files of before the gap are taken: %v", err)
	}
}

// TestLogIsNotReadForNothing has a log whose lines cannot all be read: what is known by
// the last that tells of a list needs no other.
func TestLogIsNotReadForNothing(t *testing.T) {
	folder, issuers := rollingOver(t)
	raw, err := os.ReadFile(folder.at(logFile))
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := bytes.Cut(raw, []byte{'\n'})
	long := bytes.Repeat([]byte("x"), longestLine+1)
	if err := os.WriteFile(folder.at(logFile), bytes.Join([][]byte{first, long, rest}, []byte{'\n'}), privateFile); err != nil {
		t.Fatal(err)
	}
	ann := added(t, folder, "ann").Pair.Certificate
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"it was made", func() error { return nil }},
		{"somebody was revoked", func() error {
			_, err := folder.Revoke(issuers, KeyCompromise, revocableOf(t, folder, ann))
			return err
		}},
		{"the list was signed", func() error { _, err := folder.SignCRL(issuers[1]); return err }},
		{"the roll-over ended", func() (err error) { folder, err = folder.EndRollover(issuers[0]); return err }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		_, lists := folder.CRLs(now)
		standing, err := folder.Standing(now)
		if lists != nil || err != nil || len(standing.unread) > 0 {
			t.Errorf("after %s: %v, %v, %v", step.name, lists, err, standing.unread)
		}
	}
	if _, err := folder.revokedByLog(folder.CA()); err == nil {
		t.Error("the log can be read")
	}
}
