// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const someKey = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"

// cleanImage is a root in which nothing is wrong, though much looks alike.
func cleanImage(tb testing.TB) string {
	tb.Helper()
	root := tb.TempDir()
	for path, text := range map[string]string{
		"etc/machine-id":                   "",
		"etc/passwd":                       "root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/bash\n",
		"etc/shadow":                       "root:*:20000:0:99999:7:::\ndebian:!:20000:0:99999:7:::\nsshd:!*:20000::::::\n",
		"etc/ssh/ssh_config":               "",
		"etc/ssl/certs/ca.pem":             "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUEl5xa3aFZZFb\n-----END CERTIFICATE-----\n",
		"home/debian/.ssh/authorized_keys": "",
		"home/debian/.bashrc":              "HISTFILE=.bash_history\n",
		"usr/bin/ssh-keygen":               "-----BEGIN OPENSSH PRIVATE KEY-----\n\x00 the mark alone, as a program has it",
		"usr/share/doc/openvpn/sample.key": someKey,
		"run/key":                          someKey,
		"var/lib/cloud/handlers/ours.py":   "",
		"var/lib/systemd/other":            "",
	} {
		put(tb, root, path, text)
	}
	if err := os.MkdirAll(filepath.Join(root, "var/lib/vpnami"), 0o755); err != nil {
		tb.Fatal(err)
	}
	return root
}

func put(tb testing.TB, root, path, text string) {
	tb.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

func TestCheckImageClean(t *testing.T) {
	found, err := checkImage(cleanImage(t))
	if err != nil || len(found) != 0 {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestCheckImageFinds(t *testing.T) {
	shown := map[string]bool{}
	for _, c := range []struct{ rule, path, text, at string }{
		{"private-key", "srv/left/here.txt", "notes\n" + someKey, ""},
		{"private-key", "opt/windows.pem", "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\n\r\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\r\n", ""},
		{"private-key", "etc/openvpn/ta.key", "#\n# 2048 bit OpenVPN static key\n#\n-----BEGIN OpenVPN Static key V1-----\n6acef03f62675b4b1bbd03e53b187727\n", ""},
		{"private-key", "etc/openvpn/v2.key", "-----BEGIN OpenVPN tls-crypt-v2 server key-----\nAAAAAAAAAAAAAAAAAAAAAAAA\n", ""},
		{"ssh-host-key", "etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA", ""},
		{"machine-id", "etc/machine-id", "0123456789abcdef0123456789abcdef\n", ""},
		{"machine-id", "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n", ""},
		{"password", "etc/shadow", "root:*:1:::::\nadmin:$y$j9T$abc:1:::::\n", "/etc/shadow (account \"admin\")"},
		{"password", "etc/shadow", "nobodyelse::1:::::\n", "/etc/shadow (account \"nobodyelse\")"},
		{"password", "etc/passwd", "toor::0:0::/root:/bin/sh\n", "/etc/passwd (account \"toor\")"},
		{"authorized-key", "root/.ssh/authorized_keys", "ssh-ed25519 AAAA packer\n", ""},
		{"authorized-key", "home/debian/.ssh/authorized_keys2", "ssh-ed25519 AAAA packer\n", ""},
		{"cloud-init-state", "var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\n", "/var/lib/cloud/instances/i-1"},
		{"cloud-init-state", "var/lib/cloud/data/instance-id", "i-1\n", ""},
		{"vpnami-state", "var/lib/vpnami/result.json", "{}", ""},
		{"shell-history", "root/.bash_history", "export SECRET=1\n", ""},
		{"shell-history", "home/debian/.python_history", "1\n", ""},
		{"aws-credentials", "root/.aws/credentials", "[default]\n", ""},
		{"systemd-secret", "var/lib/systemd/random-seed", "abc", ""},
	} {
		t.Run(c.rule+" "+c.path, func(t *testing.T) {
			root := cleanImage(t)
			put(t, root, c.path, c.text)
			found, err := checkImage(root)
			if err != nil {
				t.Fatal(err)
			}
			at := c.at
			if at == "" {
				at = "/" + c.path
			}
			if len(found) != 1 || found[0].Rule != c.rule || found[0].Path != at || found[0].Remedy == "" || found[0].Reason == "" {
				t.Errorf("got %+v", found)
			}
			var out, errs bytes.Buffer
			if code := command(t.Context(), []string{"check-image", "--root", root}, &out, &errs); code != exitFound {
				t.Errorf("exit code %d", code)
			}
		})
		shown[c.rule] = true
	}
	for _, rule := range imageRules() {
		if !shown[rule.id] {
			t.Errorf("rule %q is not shown to find anything", rule.id)
		}
	}
}

func TestCheckImageJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"check-image", "--json", "--root", cleanImage(t)}, &out, &errs); code != exitReady {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var report imageReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(report.Rules, "private-key") || report.Violations == nil {
		t.Errorf("got %s", out.String())
	}
}

func TestCheckImageMissingRoot(t *testing.T) {
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"check-image", "--root", "/does/not/exist"}, &out, &errs); code != exitFound {
		t.Errorf("a root that is not there passes: exit code %d", code)
	}
}
