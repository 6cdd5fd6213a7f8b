// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// Most of these tests wait for an answer that does not come, and need no core.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"vpnami-firstboot-to-kill": mainToKill,
		"vpnami-firstboot":         func() { os.Exit(command(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScript: what a person at the machine types and sees.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
