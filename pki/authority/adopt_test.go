// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/rand"
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
	made, err := newIssuer("old", 1, key, now, rand.Reader)
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
