// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSize: what is in every image stays small (see the package's comment). make
// builds the programs before it runs any test.
func TestSize(t *testing.T) {
	const most = 10_000_000
	for _, name := range []string{"vpnami-firstboot_linux_amd64", "vpnami-firstboot_linux_arm64"} {
		info, err := os.Stat(filepath.Join("../plugin/provisioner/programs", name))
		if err != nil {
			t.Fatalf("%v: say \"make build\"", err)
		}
		t.Logf("%s: %.2f MB", name, float64(info.Size())/1e6)
		if info.Size() > most {
			t.Errorf("%s has %d bytes, at most %d are wanted: \"go build -ldflags=-dumpdep\" tells what keeps a package alive", name, info.Size(), most)
		}
	}
}
