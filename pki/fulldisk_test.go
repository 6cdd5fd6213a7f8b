// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestFullDisk needs root for a file system of its own.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("VPNAMI_REQUIRE") == "1" {
			t.Fatal("a file system needs root, and VPNAMI_REQUIRE=1 forbids to skip")
		}
		t.Skip("SKIPPED: a file system needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	script, err := filepath.Abs(filepath.Join("testdata", "full-disk.sh"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", script, t.TempDir())
	cmd.Env = append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
