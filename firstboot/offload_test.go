// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// What the image decided of the data channel, what device the daemon has made,
// and what is said of it.
func TestOffloadDoubt(t *testing.T) {
	for _, tt := range []struct {
		name, decided, device string
		wrapping              bundle.Wrapping
		want                  string
	}{
		{"off by the image", "# why\ndisable-dco\n", "0x1001\n", bundle.TLSCryptV2, ""},
		{"on, and it is", "# dco\n", "", bundle.TLSCryptV2, ""},
		{"on, and the kernel cannot", "# no disable-dco here\n", "0x1001\n", bundle.TLSCryptV2, "modinfo ovpn"},
		{"on, and old profiles are let in", "", "0x1001\n", bundle.NoWrapping, "migration close"},
		{"not known", "-", "", bundle.TLSCryptV2, "not known"},
	} {
		where := layout{root: t.TempDir()}
		for path, data := range map[string]string{where.offload(): tt.decided, where.tunFlags(): tt.device} {
			if data == "-" || data == "" && path == where.tunFlags() {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := offloadDoubt(where, tt.wrapping); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
