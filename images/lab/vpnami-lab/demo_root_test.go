// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestRootScripts runs the command as far as it goes with root and the lab's
// programs, and without an image.
func TestRootScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("VPNAMI_REQUIRE") != "" {
			t.Fatal("this test needs root, and VPNAMI_REQUIRE forbids to skip it")
		}
		t.Skip("this test needs root")
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/root"})
}
