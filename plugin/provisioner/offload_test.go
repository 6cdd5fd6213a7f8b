// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"fmt"
	"strings"
	"testing"
)

// What each release of the table gets, with and without the kernel's module.
func TestOffloadFiles(t *testing.T) {
	var out strings.Builder
	for _, tt := range []struct {
		name, openvpn string
		module        bool
	}{
		{"Debian 12", "2.6.14-1~deb12u2", false},
		{"Debian 13", "2.6.14-1+deb13u3", false},
		{"Debian 13 with backports", "2.7.8-1~bpo13+1", true},
		{"Debian 13 with OpenVPN of backports alone", "2.7.8-1~bpo13+1", false},
		{"Ubuntu 24.04", "2.6.19-0ubuntu0.24.04.5", true},
		{"Ubuntu 26.04", "2.7.0-1ubuntu1.4", true},
	} {
		tree, told := offloadFiles(tt.openvpn, tt.module)
		fmt.Fprintf(&out, "%s: %s\n", tt.name, told)
		for _, e := range tree {
			fmt.Fprintf(&out, "    %s\n", e.Path)
			for line := range strings.Lines(string(e.Data)) {
				fmt.Fprintf(&out, "        %s", line)
			}
		}
	}
	golden(t, "offload.golden", out.String())
}
