// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package osrelease

import (
	"maps"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	got := Parse("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n# ID=x\n\nbroken\nID=debian\nVERSION_ID='13'\n  A=b=c  \nQ=\"\n")
	want := map[string]string{
		"PRETTY_NAME": "Debian GNU/Linux 13 (trixie)", "ID": "debian", "VERSION_ID": "13", "A": "b=c", "Q": `"`,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ID=debian\nVERSION_ID=\"13\"\n# x=y\nbroken\nQ=\"\nZ='\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		for name := range Parse(s) {
			if strings.HasPrefix(name, "#") || strings.Contains(name, "=") {
				t.Errorf("a name %q", name)
			}
		}
	})
}
