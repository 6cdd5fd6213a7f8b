// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"strings"
	"testing"
)

// TestForwards: the tunnel's switch counts where there is a tunnel, and of two
// that are off it is always the machine's that is named.
func TestForwards(t *testing.T) {
	for name, c := range map[string]struct{ machine, tunnel, cause string }{
		"no tunnel yet": {"1\n", "", ""},
		"both on":       {"1\n", "1\n", ""},
		"tunnel off":    {"1\n", "0\n", "tun0"},
		"both off":      {"0\n", "0\n", "conf/all"},
		"not there":     {"", "1\n", "conf/all"},
	} {
		t.Run(name, func(t *testing.T) {
			where := layout{root: t.TempDir()}
			for device, says := range map[string]string{"all": c.machine, "tun0": c.tunnel} {
				if says != "" {
					put(t, where.forwarding(device), "", says)
				}
			}
			err := forwards(where)
			if (err == nil) != (c.cause == "") || err != nil && !strings.Contains(err.Error(), c.cause) {
				t.Errorf("got %v, want %q", err, c.cause)
			}
		})
	}
}
