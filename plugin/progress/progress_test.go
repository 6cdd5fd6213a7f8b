// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package progress

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const said = `I: running apt-get update...
Get:1 http://deb.example/debian trixie InRelease [140 kB]
I: installing remaining packages inside the chroot...
0 upgraded, 134 newly installed, 0 to remove and 0 not upgraded.
Need to get 77.8 MB of archives.
Get:2 http://deb.example/debian trixie/main amd64 libc6 [2850 kB]
Selecting previously unselected package libc6:amd64.
Unpacking libc6:amd64 (2.41) ...
%sW: a warning
dpkg: error processing package x (--configure):
 x package post-installation script subprocess returned error exit status 1
E: Sub-process /usr/bin/dpkg returned an error code (1)
without an end`

func TestWriter(t *testing.T) {
	var setUp strings.Builder
	for i := range 60 {
		fmt.Fprintf(&setUp, "Setting up package%d (1.0) ...\r\n", i)
	}
	input := fmt.Sprintf(said, setUp.String())
	// However the output is cut into pieces, the same is said.
	for _, piece := range []int{1, 7, 4096} {
		var lines []string
		w := New(func(s string) { lines = append(lines, s) })
		for i := 0; i < len(input); i += piece {
			if _, err := w.Write([]byte(input[i:min(i+piece, len(input))])); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{
			"running apt-get update",
			"installing remaining packages inside the chroot",
			"134 packages, 77.8 MB to download",
			"25 packages set up",
			"50 packages set up",
			"W: a warning",
			"dpkg: error processing package x (--configure):",
			"E: Sub-process /usr/bin/dpkg returned an error code (1)",
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("in pieces of %d (-want +got):\n%s", piece, diff)
		}
		if got := w.Cause(); got != "dpkg: error processing package x (--configure):" {
			t.Errorf("cause: %q", got)
		}
		tail := w.Tail()
		if !strings.Contains(tail, "exit status 1\n") || !strings.HasSuffix(tail, "without an end") || strings.Contains(tail, "Get:") {
			t.Errorf("tail: %q", tail)
		}
		if n := strings.Count(tail, "\n"); n != tailLines {
			t.Errorf("the tail has %d lines, want %d and the one without an end", n, tailLines)
		}
	}
}

func TestLines(t *testing.T) {
	var lines []string
	l := NewLines(func(s string) { lines = append(lines, s) })
	for _, s := range []string{"a", "b\r\n\n c \nd", "e"} {
		if _, err := l.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ab", " c", "de"}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("E: x\nSetting up y\n99999999999999999999 upgraded, 99999999999999999999 newly installed\n")
	f.Fuzz(func(t *testing.T, s string) {
		w := New(func(string) {})
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write took %d of %d, %v", n, len(s), err)
		}
		w.Tail()
	})
}
