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
