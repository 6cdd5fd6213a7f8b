// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAdoptsOnlyWhatIsGood: what such a CA signs the gateway refuses.
func TestAdoptsOnlyWhatIsGood(t *testing.T) {
	key, err := ECDSAP256.generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made, err := newIssuer("old CA", 1, key, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]string{
		now:                            "",
		now.Add(-backdate - time.Hour): "is this machine's clock right?",
		now.Add(CALife + time.Hour):    "the CA ended on",
	} {
		_, err := Adopted{CA: made.certificate}.issuer(key, at, rand.Reader)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("at %s: %v, want %q", at, err, want)
		}
	}
}

// TestImportedNameEnds: the common name of imported certificates is a person's while
// one of them is in force. Afterwards it may be somebody else's, and two who had it
// would be refused by every gateway.
func TestImportedNameEnds(t *testing.T) {
	imported, own := Issued{Serial: "5", Profile: Unwrapped}, Issued{Serial: "6"}
	p := Person{Name: "imported-5", CommonName: "a/b", Certificates: []Issued{imported, own}}
	for want, certificates := range map[string][]Issued{"a/b": {imported, own}, "": {own}} {
		access, err := p.Access(certificates)
		if err != nil || access.CommonName != want {
			t.Errorf("%+v, %v: want the common name %q", access, err, want)
		}
	}
}

// TestNextCAHasAnotherName: one that was taken over may have the name that a later one
// would get here, and verifiers would try the wrong one of two.
func TestNextCAHasAnotherName(t *testing.T) {
	keeper := UnderPassphrase{Passphrase: passphrase}
	key, _, _, err := keeper.newKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newIssuer("Office ca 2", 1, key, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office", ServerName: "vpn.example.com", Adopted: &Adopted{CA: theirs.certificate}}.Check()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := Make(plan, AdoptedKey{Key: key, Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"office CA 3", "office CA 4"} {
		if folder, err = folder.StartRollover(unlock(t, folder, now), keeper); err != nil {
			t.Fatal(err)
		}
		if got := folder.CA().Subject.CommonName; got != want {
			t.Errorf("the next CA is %q, want %q", got, want)
		}
		if folder, err = folder.EndRollover(unlock(t, folder, now)); err != nil {
			t.Fatal(err)
		}
	}
}
