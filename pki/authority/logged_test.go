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
			path := filepath.Join(t.TempDir(), "office")
			if err := os.CopyFS(path, os.DirFS(folder.Path())); err != nil {
				t.Fatal(err)
			}
			other, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate)); err != nil {
				t.Fatal(err)
			}
			if err := folder.CheckListed(); err != nil {
				t.Errorf("its own list: %v", err)
			}
			if err := other.Revoke([]Issuer{unlock(t, other, now)}, Unspecified, revocableOf(t, other, bob.Pair.Certificate)); err != nil {
				t.Fatal(err)
			}
			for range more {
				if _, err := other.SignCRL(unlock(t, other, now)); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{"crl.pem", "revoked.tsv"} {
				raw, err := os.ReadFile(filepath.Join(path, "ca/1", file))
				if err == nil {
					err = os.WriteFile(filepath.Join(folder.Path(), "ca/1", file), raw, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "lacks what log.jsonl has") {
				t.Errorf("it is not noticed: %v", err)
			}
			number, err := folder.SignCRL(unlock(t, folder, now))
			if err != nil || number.Int64() != int64(3+more) {
				t.Fatalf("number %v, %v", number, err)
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
	list := func(number int64, hash string) loggedCRL { return loggedCRL{big.NewInt(number), hash} }
	since := logged{lists: []loggedCRL{list(6, "a"), list(7, "b"), list(8, "")}}
	for want, lists := range map[bool][]loggedCRL{
		true:  {list(5, "x"), list(6, "a"), list(7, "b"), list(8, "x")},
		false: {list(4, "x"), list(6, "x"), list(7, "x"), list(9, "x")},
	} {
		for _, l := range lists {
			if got := since.goesBackTo(l); got != want {
				t.Errorf("to number %s, %q: %v", l.number, l.hash, got)
			}
		}
	}
	if (logged{}).goesBackTo(list(0, "")) {
		t.Error("a log that tells of none goes back")
	}
}

// hindered is a key that signs, and after which the list of a CA cannot be put in place.
type hindered struct {
	crypto.Signer
	list string
}

func (h hindered) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := errors.Join(os.Rename(h.list, h.list+".aside"), os.Mkdir(h.list, 0o700)); err != nil {
		return nil, err
	}
	return h.Signer.Sign(random, digest, opts)
}

func (h hindered) mend() error {
	return errors.Join(os.Remove(h.list), os.Rename(h.list+".aside", h.list))
}

// readFiles reads those in which a CA has what is revoked; putting them back is what a
// copy of its folder does.
func readFiles(t *testing.T, folder Folder, number int) (putBack func()) {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"crl.pem", "revoked.tsv"} {
		path := folder.at(caFile(number, name))
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = raw
	}
	return func() {
		t.Helper()
		for path, raw := range files {
			if err := os.WriteFile(path, raw, 0o600); err != nil {
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
	putBack := readFiles(t, folder, 1)
	issuer := unlock(t, folder, now)
	key := hindered{issuer.key, folder.at(caFile(1, "crl.pem"))}
	issuer.key = key
	err := folder.Revoke([]Issuer{issuer}, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate))
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
		putBack()
	}
}

// TestFailedIsOfOneCAAndOnce: where one of two CAs cannot revoke what both were to, the
// log does not deny it of the other, nor what was revoked before.
func TestFailedIsOfOneCAAndOnce(t *testing.T) {
	folder, issuers := rollingOver(t)
	putBack := readFiles(t, folder, issuers[0].number)
	works := issuers[1].key
	serial := big.NewInt(0xABC)
	told := func(want ...int) {
		t.Helper()
		for i, ca := range folder.CAs() {
			if got, err := folder.revokedByLog(ca); err != nil || len(got.revoked) != want[i] {
				t.Errorf("of CA %d the log tells %d, %v, want %d", i, len(got.revoked), err, want[i])
			}
		}
	}
	issuers[1].key = refusing{works}
	if err := folder.RevokeForeign(issuers, Superseded, serial); err == nil || !strings.Contains(err.Error(), "may be let in still; try again") {
		t.Errorf("error %v", err)
	}
	told(1, 0)
	putBack()
	if _, err := folder.SignCRL(issuers[0]); err != nil {
		t.Fatal(err)
	}
	if revoked, err := folder.Revocations(); err != nil || len(revoked[0]) != 1 || len(revoked[1]) != 0 {
		t.Errorf("%v, %v", revoked, err)
	}
	issuers[1].key = works
	if err := folder.RevokeForeign(issuers, Superseded, serial); err != nil {
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
	// Where the first list alone is hindered, its CA has it, and the other is to be asked again.
	key := hindered{issuers[0].key, folder.at(caFile(issuers[0].number, "crl.pem"))}
	issuers[0].key = key
	if err := folder.RevokeForeign(issuers, Superseded, big.NewInt(0xDEF)); err == nil || !strings.Contains(err.Error(), `sign the list with "vpnami-pki crl" and give the revocation again`) {
		t.Errorf("error %v", err)
	}
	if err := key.mend(); err != nil {
		t.Error(err)
	}
	told(2, 1)
}

// TestSignedByAnOddName: the name of a CA of another program is in the log without what
// turns or hides text; in older lines it is as it is.
func TestSignedByAnOddName(t *testing.T) {
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "A\x1b\u202eB"}, Raw: []byte("ca")}
	if name := signedEntry(ca, big.NewInt(7), nil).Name; name != `A\x1b\u202eB` {
		t.Errorf("%q", name)
	}
	for name, want := range map[string]bool{`A\x1b\u202eB`: true, "A\x1b\u202eB": true, "AB": false} {
		if number := (logLine{Action: "sign-crl", Name: name, Detail: "number 7"}).signed(ca); (number != nil) != want {
			t.Errorf("%q: %v", name, number)
		}
	}
}
