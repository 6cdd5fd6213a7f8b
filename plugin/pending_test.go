// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkPending: of an image that was just baked, no security update is missing; of the
// same one with packages of long ago, those that the archive has are. The script asks
// the distribution's own archive, as the bake did.
func checkPending(t *testing.T, manifest, script string) {
	t.Helper()
	ask := func(manifest string) (string, int) {
		t.Helper()
		said, err := exec.Command(script, manifest).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if exit == nil {
			return string(said), 0
		}
		return string(said), exit.ExitCode()
	}
	if said, code := ask(manifest); code != 0 {
		t.Errorf("an image that was just baked: exit code %d\n%s", code, said)
	}
	data, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var old map[string]any
	if err := json.Unmarshal(data, &old); err != nil {
		t.Fatal(err)
	}
	image, _ := old["image"].(map[string]any)
	packages, _ := image["packages"].([]any)
	for _, each := range packages {
		if p, ok := each.(map[string]any); ok {
			p["version"] = "0"
		}
	}
	if data, err = json.Marshal(old); err != nil {
		t.Fatal(err)
	}
	aged := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(aged, data, 0o600); err != nil {
		t.Fatal(err)
	}
	said, code := ask(aged)
	if pending := strings.Count(said, " 0 -> "); code != 3 || pending == 0 || pending >= len(packages) {
		t.Errorf("an image of long ago: exit code %d, %d of %d packages\n%s", code, pending, len(packages), said)
	}
}
