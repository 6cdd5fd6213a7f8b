// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelpFits has each verb give its help, for a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	var out bytes.Buffer
	d := &desk{out: &out, err: &out}
	asked := 0
	var ask func(*cobra.Command)
	ask = func(cmd *cobra.Command) {
		asked++
		out.Reset()
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%q gives no help: %q", cmd.CommandPath(), out.String())
		}
		if cmd.HasAvailableSubCommands() && !strings.HasSuffix(out.String(), "\n\""+cmd.CommandPath()+" COMMAND --help\" tells more of a command.\n") {
			t.Errorf("%s --help ends so: %q", cmd.CommandPath(), out.String()[max(0, out.Len()-100):])
		}
		for line := range strings.Lines(out.String()) {
			if line = strings.TrimSuffix(line, "\n"); len([]rune(line)) > helpWidth {
				t.Errorf("%s --help has a line of %d columns: %s", cmd.CommandPath(), len([]rune(line)), line)
			}
		}
		for _, below := range cmd.Commands() {
			ask(below)
		}
	}
	ask(d.command(nil))
	if asked < 20 {
		t.Errorf("%d verbs were asked", asked)
	}
}

func TestFitted(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"one two\nthree four five":   "one two\nthree four\nfive",
		"a\n\nb  c\n\n  as it\n  is": "a\n\nb c\n\n  as it\n  is",
		"longer-than-that x":         "longer-than-that\nx",
		"日本語の説明 です":                  "日本語の説明 です",
	} {
		if got := fitted(text, 10); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
