// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckTun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		file:                       "not character device 10:200",
		"/dev/null":                "not character device 10:200",
	} {
		err := checkTun(path)
		if err == nil {
			t.Errorf("%q is taken for the TUN driver", path)
			continue
		}
		for _, part := range []string{path, why, "modprobe tun", "pass the device"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not tell %q", err, part)
			}
		}
	}
}
