// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"strings"
	"testing"
)

// TestGroups has lists of which OpenSSL 3.5 has more than 3.0.
func TestGroups(t *testing.T) {
	for list, want := range map[string][2]Effect{
		"X25519:prime256v1":                     {Works, Works},
		"X25519MLKEM768:X25519:prime256v1":      {Fatal, Works},
		"?SecP256r1MLKEM768:*X25519/-ffdhe2048": {Fatal, Works},
		"?NOSUCH:X25519":                        {Fatal, Works},
		"X25519:NOSUCH":                         {Fatal, Fatal},
		"X25519MLKEM768:NOSUCH":                 {Fatal, Fatal},
		"X25519Kyber768Draft00":                 {Fatal, Fatal},
	} {
		lines, err := Parse([]byte("client\ntls-groups " + list + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		found := Lint(lines)[1]
		if found.On26 != want[0] || found.On27 != want[1] || found.Instead != nothing {
			t.Errorf("%s: %+v, want %v", list, found, want)
		}
		if want[0] != want[1] && !strings.Contains(found.Why, "it takes OpenSSL 3.5") {
			t.Errorf("%s: %s", list, found.Why)
		}
	}
}
