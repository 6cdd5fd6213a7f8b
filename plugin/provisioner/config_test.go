// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPrepareDefaults(t *testing.T) {
	var c Config
	if err := c.Prepare(); err != nil {
		t.Fatal(err)
	}
	if c.waitTimeout != 10*time.Minute || c.installTimeout != 30*time.Minute || c.ManifestPath != "" {
		t.Errorf("defaults: %+v", c)
	}
}

// What is set is taken, up to its bounds; a manifest that is there is replaced.
func TestPrepareTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var c Config
	err := c.Prepare(map[string]any{
		"packages": []string{"g++", "libstdc++6"}, "manifest_path": path, "wait_timeout": "1s", "install_timeout": "1m",
	})
	if err != nil || c.waitTimeout != time.Second || c.installTimeout != time.Minute {
		t.Errorf("%+v, %v", c, err)
	}
}

// Each option, wrong: the error names it, the value and what is allowed.
func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nothing"), link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		option string
		value  any
		want   string
	}{
		{"packages", []string{"vim", "Tcpdump"}, `it is "Tcpdump"; a package is a name`},
		{"packages", []string{"vim/backports"}, `it is "vim/backports"`},
		{"packages", []string{"--yes"}, `it is "--yes"`},
		{"packages", []string{"openvpn-"}, `it is "openvpn-"; a package is a name such as "tcpdump" or "g++"; apt takes`},
		{"manifest_path", dir, "it is a folder"},
		{"manifest_path", dir + "/none/m.json", "its folder is not there"},
		{"manifest_path", "/dev/null", "not a regular file"},
		{"manifest_path", link, "not a regular file"},
		{"sbom_path", dir, "it is a folder"},
		{"sbom_path", dir + "/none/s.json", "its folder is not there"},
		{"wait_timeout", "ten minutes", `a duration such as "30m"`},
		{"wait_timeout", "0s", `at least "1s"`},
		{"wait_timeout", "999ms", `at least "1s"`},
		{"install_timeout", "60", `a duration such as "30m"`},
		{"install_timeout", "59s", `at least "1m"`},
		{"install_timeout", "48h", `at most "24h"`},
	} {
		var c Config
		err := c.Prepare(map[string]any{tt.option: tt.value})
		if err == nil || !strings.Contains(err.Error(), "checking "+tt.option+": ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %v: %v; want %q", tt.option, tt.value, err, tt.want)
		}
	}
	var same Config
	if err := same.Prepare(map[string]any{"manifest_path": dir + "/x", "sbom_path": dir + "/./x"}); err == nil || !strings.Contains(err.Error(), "manifest_path names the same file") {
		t.Errorf("one file for both: %v", err)
	}
	var c Config
	err := c.Prepare(map[string]any{"packages": []string{"A"}, "manifest_path": dir, "wait_timeout": "x", "install_timeout": "y"})
	for _, option := range []string{"packages", "manifest_path", "wait_timeout", "install_timeout"} {
		if err == nil || !strings.Contains(err.Error(), "checking "+option) {
			t.Errorf("not all is told at once: %s is missing from %v", option, err)
		}
	}
}
