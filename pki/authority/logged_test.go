// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListOfAnotherDesk puts the files of a CA there that another copy of the folder has
// signed since, with a number that is as high, or higher: whom this one revoked does not
// come in again.
func TestListOfAnotherDesk(t *testing.T) {
	for name, more := range map[string]int{"as high": 0, "higher": 2} {
		t.Run(name, func(t *testing.T) {
			folder := newFolder(t)
			ann, bob := added(t, folder, "ann"), added(t, folder, "bob")
			other := copied(t, folder)
			if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate)); err != nil {
				t.Fatal(err)
			}
			if err := folder.CheckListed(); err != nil {
				t.Errorf("its own list: %v", err)
			}
			if _, err := other.Revoke([]Issuer{unlock(t, other, now)}, Unspecified, revocableOf(t, other, bob.Pair.Certificate)); err != nil {
				t.Fatal(err)
			}
			for range more {
				if _, err := other.SignCRL(unlock(t, other, now)); err != nil {
					t.Fatal(err)
				}
			}
			readFiles(t, other)(folder)
			if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "lacks what log.jsonl has") {
				t.Errorf("it is not noticed: %v", err)
			}
			signed, err := folder.SignCRL(unlock(t, folder, now))
			if err != nil || signed.Number.Int64() != int64(3+more) {
				t.Fatalf("%+v, %v", signed, err)
			}
			lists, err := folder.CRLs(now)
			if err != nil || len(lists[0].RevokedCertificateEntries) != 2 {
				t.Errorf("%+v, %v", lists, err)
			}
		})
	}
}

// TestLogThatBeganAnewAndAnotherDesk: what such a log lacks stands in the list that was
// there when it began, and not in that of another copy.
func TestLogThatBeganAnewAndAnotherDesk(t *testing.T) {
	files := func(number int64, list, revoked string) caFiles {
		return caFiles{big.NewInt(number), list, revoked}
	}
	since := logged{files: []caFiles{files(6, "a", "r"), files(7, "b", ""), files(8, "", "")}}
	for want, all := range map[bool][]caFiles{
		true:  {files(6, "a", "r"), files(7, "b", "y"), files(8, "x", "y")},
		false: {files(5, "x", "r"), files(6, "x", "r"), files(6, "a", "y"), files(6, "a", ""), files(7, "x", "y"), files(9, "x", "y")},
	} {
		for _, there := range all {
			if got := since.goesBackTo(there); got != want {
				t.Errorf("to number %s, %q, %q: %v", there.number, there.list, there.revoked, got)
			}
		}
	}
	if (logged{}).goesBackTo(files(0, "", "")) {
		t.Error("a log that tells of none goes back")
	}
}

// hindered is a key that signs, and after which a file of a CA cannot be put in place.
type hindered struct {
	crypto.Signer
	file string
}

func (h hindered) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := errors.Join(os.Rename(h.file, h.file+".aside"), os.Mkdir(h.file, 0o700)); err != nil {
		return nil, err
	}
	return h.Signer.Sign(random, digest, opts)
}

func (h hindered) mend() error {
	return errors.Join(os.Remove(h.file), os.Rename(h.file+".aside", h.file))
}

// copied is another desk's copy of a folder.
func copied(t *testing.T, folder Folder) Folder {
	t.Helper()
	path := filepath.Join(t.TempDir(), "office")
	if err := os.CopyFS(path, os.DirFS(folder.Path())); err != nil {
		t.Fatal(err)
	}
	other, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// readFiles reads those in which the first CA has what is revoked; putting them back is what a
// copy of its folder does, and into another folder, what comes from another desk.
func readFiles(t *testing.T, from Folder) (put func(into Folder)) {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"crl.pem", "revoked.tsv"} {
		name = caFile(1, name)
		raw, err := os.ReadFile(from.at(name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = raw
	}
	return func(into Folder) {
		t.Helper()
		for name, raw := range files {
			if err := os.WriteFile(into.at(name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRevokedWhereTheListIsNotWritten: revoked.tsv has it, so it is in force, and the log
// does not say that it failed. It stays so where an older copy is put back.
func TestRevokedWhereTheListIsNotWritten(t *testing.T) {
	folder := newFolder(t)
	ann := added(t, folder, "ann")
	putBack := readFiles(t, folder)
	issuer := unlock(t, folder, now)
	key := hindered{issuer.key, folder.at(caFile(1, "crl.pem"))}
	issuer.key = key
	_, err := folder.Revoke([]Issuer{issuer}, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate))
	if err == nil || !strings.Contains(err.Error(), `when that is mended, with "vpnami-pki crl"`) || strings.Contains(err.Error(), "try again") {
		t.Errorf("error %v", err)
	}
	if err := key.mend(); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"when that is mended", "with an older copy"} {
		if _, err := folder.CRLs(now); err == nil {
			t.Errorf("%s: it is not noticed", when)
		}
		if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		lists, err := folder.CRLs(now)
		if err != nil || len(lists[0].RevokedCertificateEntries) != 1 {
			t.Errorf("%s: %+v, %v", when, lists, err)
		}
		putBack(folder)
	}
}

// TestRevokedWhereNothingIsWritten: revoked.tsv does not have it, so it is not in force,
// and the log says that it failed.
func TestRevokedWhereNothingIsWritten(t *testing.T) {
	folder := newFolder(t)
	ann := revocableOf(t, folder, added(t, folder, "ann").Pair.Certificate)
	issuer := unlock(t, folder, now)
	works := issuer.key
	key := hindered{works, folder.at(caFile(1, "revoked.tsv"))}
	issuer.key = key
	_, err := folder.Revoke([]Issuer{issuer}, KeyCompromise, ann)
	if err == nil || !strings.Contains(err.Error(), "may be let in still; try again") {
		t.Errorf("error %v", err)
	}
	if err := key.mend(); err != nil {
		t.Fatal(err)
	}
	if lists, err := folder.CRLs(now); err != nil || len(lists[0].RevokedCertificateEntries) != 0 {
		t.Errorf("%+v, %v", lists, err)
	}
	issuer.key = works
	signed, err := folder.SignCRL(issuer)
	if err != nil || signed.Listed != 0 || len(signed.TakenOver) != 0 || signed.Number.Int64() != 3 {
		t.Errorf("%+v, %v", signed, err)
	}
	if _, err := folder.Revoke([]Issuer{issuer}, KeyCompromise, ann); err != nil {
		t.Fatal(err)
	}
	if told, err := folder.revokedByLog(folder.CA()); err != nil || len(told.revoked) != 1 {
		t.Errorf("the log tells %+v, %v", told.revoked, err)
	}
}

// TestFailedIsOfOneCAAndOnce: where one of two CAs cannot sign what both are to, neither
// has revoked anything; where one cannot have it written, the log does not deny it of the
// other, nor what was revoked before.
func TestFailedIsOfOneCAAndOnce(t *testing.T) {
	folder, issuers := rollingOver(t)
	works := []crypto.Signer{issuers[0].key, issuers[1].key}
	serial := big.NewInt(0xABC)
	told := func(want ...int) {
		t.Helper()
		for i, ca := range folder.CAs() {
			if got, err := folder.revokedByLog(ca); err != nil || len(got.revoked) != want[i] {
				t.Errorf("of CA %d the log tells %d, %v, want %d", i, len(got.revoked), err, want[i])
			}
		}
	}
	issuers[1].key = refusing{works[1]}
	if _, err := folder.RevokeForeign(issuers, Superseded, serial); err == nil || !strings.Contains(err.Error(), "may be let in still; try again") {
		t.Errorf("error %v", err)
	}
	told(0, 0)
	if left, err := filepath.Glob(folder.at("ca", "*", ".*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
	issuers[1].key = works[1]
	key := hindered{works[0], folder.at(caFile(issuers[0].number, "revoked.tsv"))}
	issuers[0].key = key
	if _, err := folder.RevokeForeign(issuers, Superseded, serial); err == nil || !strings.Contains(err.Error(), `sign the list with "vpnami-pki crl" and give the revocation again`) {
		t.Errorf("error %v", err)
	}
	if err := key.mend(); err != nil {
		t.Error(err)
	}
	told(0, 1)
	issuers[0].key = works[0]
	if _, err := folder.RevokeForeign(issuers, Superseded, serial); err != nil {
		t.Fatal(err)
	}
	told(1, 1)
	// Once more by an older copy, in vain, and by a line from before, which names no CA.
	failed := Entry{Action: "revoke-foreign-failed", Name: serial.String(), Serial: serial}
	again := Entry{Action: "revoke-foreign", Name: serial.String(), Serial: serial}
	if err := folder.Log(now, again, failed); err != nil {
		t.Fatal(err)
	}
	told(1, 1)
	// Where a list alone is hindered, both have it.
	key = hindered{works[0], folder.at(caFile(issuers[0].number, "crl.pem"))}
	issuers[0].key = key
	if _, err := folder.RevokeForeign(issuers, Superseded, big.NewInt(0xDEF)); err == nil || !strings.Contains(err.Error(), `when that is mended, with "vpnami-pki crl"`) {
		t.Errorf("error %v", err)
	}
	if err := key.mend(); err != nil {
		t.Error(err)
	}
	told(2, 2)
}

// TestSignedByAnOddName: the name of a CA of another program is in the log without what
// turns or hides text; in older lines it is as it is.
func TestSignedByAnOddName(t *testing.T) {
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "A\x1b\u202eB"}, Raw: []byte("ca")}
	if name := signedEntry(ca, caFiles{number: big.NewInt(7)}).Name; name != `A\x1b\u202eB` {
		t.Errorf("%q", name)
	}
	for name, want := range map[string]bool{`A\x1b\u202eB`: true, "A\x1b\u202eB": true, "AB": false} {
		if files := (logLine{Action: signAction, Name: name, Detail: "number 7"}).files(ca); (files != nil) != want {
			t.Errorf("%q: %v", name, files)
		}
	}
}
