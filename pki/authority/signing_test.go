// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// killing is a key while which is waited for the command is killed.
type killing struct{ crypto.Signer }

var errKilled = errors.New("killed")

func (killing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic(errKilled) }

// killed does something that is.
func killed(t *testing.T, do func()) {
	t.Helper()
	defer func() {
		if err := recover(); err != errKilled { //nolint:errorlint // it is what was thrown
			panic(err)
		}
	}()
	do()
	t.Error("it is not killed")
}

// kept is [added], with the certificate's file.
func kept(t *testing.T, folder Folder, name string) Revocable {
	t.Helper()
	c := added(t, folder, name).Pair.Certificate
	if err := Create(folder.at(certificateFile(c)), publicFile, bundle.CertificatesPEM(c)); err != nil {
		t.Fatal(err)
	}
	return revocableOf(t, folder, c)
}

// TestKilledRevokeIsNone: a command that was killed while the key was waited for has
// revoked nobody, and no later one does that in its stead.
func TestKilledRevokeIsNone(t *testing.T) {
	folder := newFolder(t)
	ann, bob := kept(t, folder, "ann"), kept(t, folder, "bob")
	before, err := os.ReadFile(folder.at(logFile))
	if err != nil {
		t.Fatal(err)
	}
	issuer := unlock(t, folder, now)
	waited := issuer
	waited.key = killing{issuer.key}
	killed(t, func() { _, _ = folder.Revoke([]Issuer{waited}, KeyCompromise, ann) })
	if after, err := os.ReadFile(folder.at(logFile)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the log has %s, %v", after[len(before):], err)
	}
	putBack := readFiles(t, folder)
	if _, err := folder.SignCRL(issuer); err != nil {
		t.Fatal(err)
	}
	putBack(folder) // a command that was killed between the log and the list
	if over, err := folder.Revoke([]Issuer{issuer}, KeyCompromise, bob); err != nil || len(over) > 0 {
		t.Errorf("taken over: %+v, %v", over, err)
	}
	if revoked, err := folder.Revocations(); err != nil || len(revoked[0]) != 1 || revoked[0][0].Serial.Cmp(bob.Serial) != 0 {
		t.Errorf("%+v, %v", revoked, err)
	}
}

// TestTakenOverIsTold: one that was killed once the log had its list is noticed, and
// whoever signs next is told whom that takes out; given again, it is done.
func TestTakenOverIsTold(t *testing.T) {
	for name, next := range map[string]struct {
		do   func(folder Folder, issuer Issuer, ann, bob Revocable) ([]TakenOver, error)
		tell bool
	}{
		"another is revoked": {func(folder Folder, issuer Issuer, _, bob Revocable) ([]TakenOver, error) {
			return folder.Revoke([]Issuer{issuer}, Unspecified, bob)
		}, true},
		"the list is signed": {func(folder Folder, issuer Issuer, _, _ Revocable) ([]TakenOver, error) {
			signed, err := folder.SignCRL(issuer)
			return signed.TakenOver, err
		}, true},
		"the list is renewed": {func(folder Folder, issuer Issuer, _, _ Revocable) ([]TakenOver, error) {
			issuer.now = issuer.now.Add(CRLLife/2 + 1)
			return folder.RenewCRL(issuer)
		}, true},
		"it is given again": {func(folder Folder, issuer Issuer, ann, _ Revocable) ([]TakenOver, error) {
			return folder.Revoke([]Issuer{issuer}, KeyCompromise, ann)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := newFolder(t)
			ann, bob := kept(t, folder, "ann"), kept(t, folder, "bob")
			issuer := unlock(t, folder, now)
			putBack := readFiles(t, folder)
			if _, err := folder.Revoke([]Issuer{issuer}, KeyCompromise, ann); err != nil {
				t.Fatal(err)
			}
			putBack(folder)
			if err := folder.CheckListed(); err == nil {
				t.Error("it is not noticed")
			}
			over, err := next.do(folder, issuer, ann, bob)
			if err != nil {
				t.Fatal(err)
			}
			if told := len(over) == 1 && over[0].Name == "ann" && over[0].Serial.Cmp(ann.Serial) == 0 && over[0].Reason == KeyCompromise; told != next.tell || len(over) > 1 {
				t.Errorf("told %+v", over)
			}
			isOut(t, folder, "ann", ann.certificate)
		})
	}
}
