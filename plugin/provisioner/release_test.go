// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/plugin/osrelease"
)

// The table as it is: what is asked of apt on each of the four releases.
func TestReleases(t *testing.T) {
	var out strings.Builder
	for _, r := range releases() {
		fmt.Fprintf(&out, "%s: ID=%s VERSION_ID=%s openvpn>=%s\n  install: %s\n  remove:  %s\n",
			r.Name, r.ID, r.VersionID, r.OpenVPN, strings.Join(r.Packages, " "), strings.Join(r.Removed, " "))
	}
	golden(t, "releases.golden", out.String())
}

func TestReleaseOf(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"13\"\n":  "Debian 13",
		"ID=debian\nVERSION_ID=\"12\"\n":  "Debian 12",
		"ID=ubuntu\nVERSION_ID='24.04'\n": "Ubuntu 24.04 LTS",
		"ID=ubuntu\nVERSION_ID=26.04\n":   "Ubuntu 26.04 LTS",
	} {
		if r, err := releaseOf(osrelease.Parse(text)); err != nil || r.Name != want {
			t.Errorf("%q: %q, %v", text, r.Name, err)
		}
	}
	for _, text := range []string{
		"PRETTY_NAME=\"Fedora Linux 44\"\nID=fedora\nVERSION_ID=44\n",
		"PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\nID=ubuntu\nVERSION_ID=\"22.04\"\n",
		"",
	} {
		_, err := releaseOf(osrelease.Parse(text))
		if err == nil || !strings.Contains(err.Error(), "Ubuntu 24.04 LTS, Ubuntu 26.04 LTS, Debian 12, Debian 13") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := releaseOf(osrelease.Parse("PRETTY_NAME=\"Fedora Linux 44\"\nID=fedora\n")); !strings.Contains(err.Error(), `"Fedora Linux 44"`) {
		t.Errorf("the refusal does not name the guest: %v", err)
	}
}

func TestAtLeast(t *testing.T) {
	for _, tt := range []struct {
		version, least string
		want           bool
	}{
		{"2.6.14-1+deb13u3", "2.6", true},
		{"2.7.0-1ubuntu1.4", "2.6", true},
		{"2.6.19-0ubuntu0.24.04.5", "2.7", false},
		{"2.10.1", "2.7", true},
		{"1:2.7.1", "2.7", true},
		{"3.0", "2.7", true},
		{"", "2.6", false},
		{"2", "2.6", false},
	} {
		if got := atLeast(tt.version, tt.least); got != tt.want {
			t.Errorf("atLeast(%q, %q) = %t", tt.version, tt.least, got)
		}
	}
}
