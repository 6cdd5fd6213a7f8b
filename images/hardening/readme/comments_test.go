// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/images/hardening"
	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

func TestReasonOf(t *testing.T) {
	for name, c := range map[string]struct {
		entry rootfs.Entry
		want  string
	}{
		"the manifest's word first": {rootfs.Entry{Why: "so", Data: []byte("# vpnami: else\n")}, "so"},
		"the first paragraph":       {rootfs.Entry{Data: []byte("# vpnami: one\n# two\n#\n# three\nx = 1\n# four\n")}, "one two"},
		"a script":                  {rootfs.Entry{Data: []byte("#!/bin/sh\n# SPDX-License-Identifier: MPL-2.0\n#\n# It does.\nset -eu\n")}, "It does."},
		"apt's comments":            {rootfs.Entry{Data: []byte("// vpnami: a.\nX \"1\";\n")}, "a."},
		"a unit":                    {rootfs.Entry{Data: []byte("[Unit]\nDescription=vpnami: serve\n")}, "serve"},
		"none":                      {rootfs.Entry{Data: []byte("x = 1\n# later\n")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := reasonOf(c.entry); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSettingsOf(t *testing.T) {
	got := settingsOf("# vpnami: head.\n#\n# a\n[S]\nx = 1\ny = 2\n# b\n# c\nz = 3\n\nw = 4\n")
	want := []row{{"`x = 1`<br>`y = 2`", "head.  a"}, {"`z = 3`", "b c"}, {"`w = 4`", ""}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Error(diff)
	}
}

func TestPackagesOf(t *testing.T) {
	got, err := packagesOf([]byte("package p\nfunc commonPackages() []string {\n\treturn []string{\n\t\t\"a\", // one\n\t\t\"b\",\n\t}\n}\nfunc other() string { return \"c\" }\n"))
	want := []row{{"`a`", "one"}, {"`b`", ""}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, bad := range []string{"package p\n", "no Go"} {
		if _, err := packagesOf([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A file without a reason stops the page: it would be the image's only secret.
func TestWriteRefusesWithoutReason(t *testing.T) {
	tree := []rootfs.Entry{{Path: "/etc/x", Mode: 0o644, Data: []byte("x = 1\n")}}
	if err := write(new(bytes.Buffer), tree, nil, hardening.Reasons{}); err == nil || !strings.Contains(err.Error(), `"/etc/x"`) {
		t.Errorf("got %v", err)
	}
}
