// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestPublishCommandCanBeGiven has a shell read the command that a revocation
// ends with: somebody copies it at midnight.
func TestPublishCommandCanBeGiven(t *testing.T) {
	for _, name := range []string{"office", "my office", "Ann's $HOME; `id` \"x\"", "Ann's \x1b[31m\a\u202eé \\ \"x\""} {
		path := filepath.Join(t.TempDir(), name)
		folder, err := authority.Make(authority.Plan{Path: path, Name: "office"}, authority.UnderPassphrase{Passphrase: []byte("correct horse")}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if err := folder.RecordPublish(testNow, authority.Place{Region: "eu-central-1", Prefix: "vpn/office"}, 1, ""); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		(&desk{out: &out, err: &out}).sayPublish(folder)
		_, command, found := strings.Cut(out.String(), "\n  vpnami-pki ")
		if !found {
			t.Fatalf("there is no command in %q", out.String())
		}
		if strings.ContainsAny(command, "\x1b\a\u202e") {
			t.Errorf("%q would turn or hide text", command)
		}
		// Debian's sh does not know $'...' yet.
		words, err := exec.CommandContext(t.Context(), "bash", "-c", "printf '%s\\n' "+command).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v", command, err)
		}
		want := []string{"publish", "--folder", path, "--secret", "vpn/office", "--region", "eu-central-1", ""}
		if diff := cmp.Diff(want, strings.Split(string(words), "\n")); diff != "" {
			t.Error(diff)
		}
	}
}
