// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"strings"
	"testing"
	"time"
)

func TestPrepareDefaults(t *testing.T) {
	var c Config
	if err := c.Prepare(); err != nil {
		t.Fatal(err)
	}
	if c.waitTimeout != 10*time.Minute || c.timeout != 30*time.Minute || c.ManifestPath != "" {
		t.Errorf("defaults: %+v", c)
	}
}

// Each option, wrong: the error names it, the value and what is allowed.
func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		option string
		value  any
		want   string
	}{
		{"packages", []string{"vim", "Tcpdump"}, `it is "Tcpdump"; a package is a name`},
		{"packages", []string{"vim/backports"}, `it is "vim/backports"`},
		{"packages", []string{"--yes"}, `it is "--yes"`},
		{"manifest_path", dir, "it is a folder"},
		{"manifest_path", dir + "/none/m.json", "its folder is not there"},
		{"wait_timeout", "ten minutes", `a duration such as "30m"`},
		{"wait_timeout", "0s", `a duration such as "30m"`},
		{"wait_timeout", "30m", `shorter than timeout, which is "30m"`},
		{"timeout", "60", `a duration such as "30m"`},
		{"timeout", "48h", `at most "24h"`},
	} {
		var c Config
		err := c.Prepare(map[string]any{tt.option: tt.value})
		if err == nil || !strings.Contains(err.Error(), "checking "+tt.option+": ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %v: %v; want %q", tt.option, tt.value, err, tt.want)
		}
	}
	var c Config
	err := c.Prepare(map[string]any{"packages": []string{"A"}, "manifest_path": dir, "wait_timeout": "x", "timeout": "y"})
	for _, option := range []string{"packages", "manifest_path", "wait_timeout", "timeout"} {
		if err == nil || !strings.Contains(err.Error(), "checking "+option) {
			t.Errorf("not all is told at once: %s is missing from %v", option, err)
		}
	}
}
