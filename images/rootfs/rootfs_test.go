// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package rootfs

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// What is in the folder is what is embedded: go:embed silently leaves out files
// that its pattern does not name.
func TestTreeHoldsEveryFile(t *testing.T) {
	entries, err := Tree()
	if err != nil {
		t.Fatal(err)
	}
	embedded := map[string]Entry{}
	for _, e := range entries {
		embedded[e.Path] = e
	}
	found := 0
	err = filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(name, "/") {
			return err
		}
		found++
		e, ok := embedded["/"+name]
		if !ok {
			t.Errorf("%s is in the folder and not embedded", name)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if wantExec, isExec := e.Mode&0o111 != 0, info.Mode()&0o111 != 0; wantExec != isExec {
			t.Errorf("%s: mode %v here, %v in manifest.yaml", name, info.Mode(), e.Mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("only %d files were found: the walk looked in the wrong place", found)
	}
}

func TestTreeRefuses(t *testing.T) {
	files := fstest.MapFS{"etc/a": {Data: []byte("a")}}
	for name, tc := range map[string]struct{ manifest, want string }{
		"a mode for no file":    {"files: {/etc/b: {mode: 0o600}}", "no such files in the tree: /etc/b"},
		"an unknown key":        {"file: {/etc/a: {mode: 0o600}}", "field file not found"},
		"a second document":     {"files: {}\n---\nfiles: {}", "a second document"},
		"a link without target": {"links: {/etc/l: {why: x}}", `link "/etc/l" has no target`},
		"a link over a file":    {"links: {/etc/a: {target: /b}}", `"/etc/a": it is there twice`},
		"a relative folder":     {"folders: {etc/x: {mode: 0o755}}", "not a clean absolute path"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tree(files, []byte(tc.manifest))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestTreeTakesModes(t *testing.T) {
	files := fstest.MapFS{"etc/a": {Data: []byte("a")}, "etc/b": {Data: []byte("b")}}
	got, err := tree(files, []byte("files: {/etc/a: {mode: 0o600}}\nfolders: {/var/x: {mode: 0o750}}\nlinks: {/etc/l: {target: /etc/a}}"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range got {
		lines = append(lines, strings.TrimSpace(strings.Join([]string{e.Mode.String(), e.Owner, e.Group, e.Path, e.Target}, " ")))
	}
	want := strings.Join([]string{
		"-rw------- root root /etc/a",
		"-rw-r--r-- root root /etc/b",
		"Lrwxrwxrwx root root /etc/l /etc/a",
		"drwxr-x--- root root /var/x",
	}, "\n")
	if s := strings.Join(lines, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}

// The hook is what keeps the probe's certificate from being used from
// elsewhere, and a person's old one from being used at all, so it is run here
// with what OpenVPN gives it. That OpenVPN heeds it is seen in firstboot's tests.
func TestAdmit(t *testing.T) {
	script, err := os.ReadFile("usr/lib/vpnami/admit")
	if err != nil {
		t.Fatal(err)
	}
	current := t.TempDir()
	state := filepath.Join(current, "serials")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(current, "bound"), []byte("21\n22\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, serials := range map[string]string{"client1": "1002\n1003\n", "client2": "any\n", "vpnami-probe": "7\n", "client3": ""} {
		if err := os.WriteFile(filepath.Join(state, name), []byte(serials), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hook := filepath.Join(t.TempDir(), "admit")
	moved := strings.ReplaceAll(string(script), "/var/lib/vpnami/current", current)
	if err := os.WriteFile(hook, []byte(moved), 0o755); err != nil {
		t.Fatal(err)
	}
	const outside, inside = "trusted_ip=198.51.100.11", "trusted_ip=127.0.0.1"
	for name, tc := range map[string]struct {
		env     []string
		refused bool
	}{
		"a person":                          {[]string{"common_name=client1", "tls_serial_0=1003", outside}, false},
		"a person whose serial is not told": {[]string{"common_name=client1", outside}, true},
		"a person with another certificate": {[]string{"common_name=client1", "tls_serial_0=1004", outside}, true},
		"a person with a part of a serial":  {[]string{"common_name=client1", "tls_serial_0=100", outside}, true},
		"a person with any certificate":     {[]string{"common_name=client2", "tls_serial_0=5", outside}, false},
		"a person with no certificate left": {[]string{"common_name=client3", "tls_serial_0=5", outside}, true},
		"somebody who is not on the roster": {[]string{"common_name=client9", "tls_serial_0=5", outside}, true},
		"the probe from the machine":        {[]string{"common_name=vpnami-probe", "tls_serial_0=7", inside}, false},
		"the probe from the internet":       {[]string{"common_name=vpnami-probe", "tls_serial_0=7", outside}, true},
		"the probe from the VPC":            {[]string{"common_name=vpnami-probe", "tls_serial_0=7", "trusted_ip=10.0.2.2"}, true},
		"the probe over IPv6 only":          {[]string{"common_name=vpnami-probe", "tls_serial_0=7", "trusted_ip6=2001:db8::1"}, true},
		"another probe from the machine":    {[]string{"common_name=vpnami-probe", "tls_serial_0=8", inside}, true},
		"a name that is a path":             {[]string{"common_name=../x", "tls_serial_0=5", outside}, true},
		"an imported name":                  {[]string{"common_name=Suzuki Taro", "tls_serial_0=22", outside}, false},
		"an imported name, another serial":  {[]string{"common_name=Suzuki Taro", "tls_serial_0=5", outside}, true},
		"an imported name with a dash":      {[]string{"common_name=-x", "tls_serial_0=21", outside}, false},
		"a person with an imported serial":  {[]string{"common_name=client1", "tls_serial_0=22", outside}, true},
		"a file as a name":                  {[]string{"common_name=../bound", "tls_serial_0=5", outside}, true},
		"an empty name":                     {[]string{"common_name=", "tls_serial_0=5", inside}, true},
		"nobody":                            {[]string{"tls_serial_0=5", inside}, true},
	} {
		t.Run(name, func(t *testing.T) {
			run := exec.Command("/bin/sh", hook, "/tmp/file-that-openvpn-appends")
			run.Env = tc.env
			if err := run.Run(); (err != nil) != tc.refused {
				t.Errorf("got %v, want refused: %v", err, tc.refused)
			}
		})
	}
}
