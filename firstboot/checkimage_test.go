// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
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
		"var/lib/apt/lists/lock":           "",
		"var/log/dpkg.log":                 "",
		"var/log/auth.log":                 "sudo: vpnami-firstboot check-image\n",
		"usr/bin/gccept":                   "",
		"usr/bin/sudo":                     "",
		"var/lib/dpkg/info/sudo.md5sums":   sumOf(nil) + "  usr/bin/sudo\n",
		"etc/sysctl.d/90-vpnami.conf":      "net.ipv4.ip_forward = 1\n",
		"usr/lib/sysctl.d/50-default.conf": "net.ipv4.ip_forward = 0\n# net/ipv4/ip_forward = 0\n",
		"etc/ssh/sshd_config":              "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\n",
		"etc/systemd/system/multi-user.target.wants/ssh.service":                  "",
		"etc/systemd/system/multi-user.target.wants/netfilter-persistent.service": "",
		"etc/systemd/system/multi-user.target.wants/vpnami-firstboot.service":     "",
		"etc/systemd/system/timers.target.wants/vpnami-sync.timer":                "",
	} {
		put(tb, root, path, text)
	}
	// What is promised is what is laid down.
	for _, path := range []string{"etc/iptables/rules.v4", "etc/iptables/rules.v6", "etc/ssh/sshd_config.d/10-vpnami.conf"} {
		data, err := os.ReadFile(filepath.Join("../images/rootfs", path))
		if err != nil {
			tb.Fatal(err)
		}
		put(tb, root, path, string(data))
	}
	if err := os.Chmod(filepath.Join(root, "usr/bin/sudo"), 0o755|os.ModeSetuid); err != nil {
		tb.Fatal(err)
	}
	for _, folder := range []string{"tmp", "var/tmp"} {
		path := filepath.Join(root, folder)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o777|os.ModeSticky)); err != nil {
			tb.Fatal(err)
		}
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
		{"password", "etc/passwd", "toor::1001:0::/root:/bin/sh\n", "/etc/passwd (account \"toor\")"},
		{"authorized-key", "root/.ssh/authorized_keys", "ssh-ed25519 AAAA packer\n", ""},
		{"authorized-key", "home/debian/.ssh/authorized_keys2", "ssh-ed25519 AAAA packer\n", ""},
		{"cloud-init-state", "var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\n", "/var/lib/cloud/instances/i-1"},
		{"cloud-init-state", "var/lib/cloud/data/instance-id", "i-1\n", ""},
		{"vpnami-state", "var/lib/vpnami/result.json", "{}", ""},
		{"shell-history", "root/.bash_history", "export SECRET=1\n", ""},
		{"shell-history", "home/debian/.python_history", "1\n", ""},
		{"aws-credentials", "root/.aws/credentials", "[default]\n", ""},
		{"systemd-secret", "var/lib/systemd/random-seed", "abc", ""},
		{"second-root", "etc/passwd", "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\n", "/etc/passwd (account \"toor\")"},
		{"log", "var/log/dpkg.log", "2026-01-01 status installed\n", ""},
		{"log", "var/log/apt/history.log", "Commandline: apt-get install\n", ""},
		{"log", "var/log/auth.log.1", "", ""},
		{"log", "var/log/old/auth.log.2.gz", "", ""},
		{"package-lists", "var/lib/apt/lists/archive_debian_dists_trixie_InRelease", "", ""},
		{"package-lists", "var/cache/apt/archives/gcc_14.deb", "", ""},
		{"bake-leftover", "usr/sbin/policy-rc.d", "", ""},
		{"bake-leftover", "home/debian/.ssh/known_hosts", "", ""},
		{"compiler", "usr/bin/gcc", "", ""},
		{"compiler", "usr/bin/x86_64-linux-gnu-gcc-14", "", ""},
		{"openvpn-enabled", "etc/systemd/system/multi-user.target.wants/openvpn-server@vpn.service", "", ""},
		{"openvpn-enabled", "etc/openvpn/old.conf", "", ""},
		{"packet-filter", "etc/iptables/rules.v6", ":INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n-A PREROUTING -i tun0 -d fd00:ec2::/32 -j DROP\n", `/etc/iptables/rules.v6 (no line ":FORWARD DROP [0:0]")`},
		{"packet-filter", "etc/iptables/rules.v4", ":INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n", `/etc/iptables/rules.v4 (no line "-A PREROUTING -i tun0 -d 169.254.0.0/16 -j DROP")`},
		{"forwarding", "etc/sysctl.d/99-later.conf", "-net/ipv4/ip_forward=0\n", `/etc/sysctl.d/99-later.conf (net.ipv4.ip_forward is "0")`},
		{"sshd", "etc/ssh/sshd_config.d/05-first.conf", "PermitRootLogin=prohibit-password\n", `/etc/ssh/sshd_config (permitrootlogin is "prohibit-password")`},
		{"sshd", "etc/ssh/sshd_config.d/05-first.conf", "authenticationmethods any\nMatch User x\nX11Forwarding no\n", `/etc/ssh/sshd_config (authenticationmethods is "any")`},
		{"sshd", "etc/ssh/sshd_config.d/60-later.conf", "Match all\nPermitRootLogin yes\n", `/etc/ssh/sshd_config (for some permitrootlogin is "yes")`},
		{"private-key", "etc/cloud/cloud.cfg.d/95-x.cfg", "write_files:\n- content: |\n    -----BEGIN PRIVATE KEY-----\n    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n", ""},
		{"private-key", "srv/key.json", `{"private_key": "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n"}`, ""},
		{"second-root", "etc/passwd", "root:x:0:0:root:/root:/bin/bash\ntoor:x:00:0::/root:/bin/sh\n", "/etc/passwd (account \"toor\")"},
		{"forwarding", "etc/sysctl.d/99-later.conf", "net.ipv4.conf.all.forwarding = 0\n", `/etc/sysctl.d/99-later.conf (net.ipv4.ip_forward is "0")`},
	} {
		t.Run(c.rule+" "+c.path, func(t *testing.T) {
			root := cleanImage(t)
			put(t, root, c.path, c.text)
			finds(t, root, c.rule, cmp.Or(c.at, "/"+c.path))
		})
		shown[c.rule] = true
	}
	for _, c := range []struct {
		rule, path string
		mode       os.FileMode
	}{
		{"world-writable", "etc/motd", 0o666},
		{"world-writable", "srv/drop", 0o777 | os.ModeDir},
		{"setuid", "usr/bin/mount", 0o755 | os.ModeSetuid},
		{"setuid", "usr/bin/write", 0o755 | os.ModeSetgid},
		{"setuid", "srv/sudo", 0o755 | os.ModeSetuid},
		{"setuid", "usr/local/bin/sudo", 0o755 | os.ModeSetuid},
		{"setuid", "usr/share/doc/x/shell", 0o755 | os.ModeSetuid},
	} {
		t.Run(c.rule+" "+c.path, func(t *testing.T) {
			root := cleanImage(t)
			path := filepath.Join(root, c.path)
			if c.mode.IsDir() {
				if err := os.MkdirAll(path, 0o755); err != nil {
					t.Fatal(err)
				}
			} else {
				put(t, root, c.path, "")
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			finds(t, root, c.rule, "/"+c.path)
		})
		shown[c.rule] = true
	}
	for _, c := range []struct{ rule, path, at string }{
		{"packet-filter", "etc/systemd/system/multi-user.target.wants/netfilter-persistent.service", ""},
		{"units", "etc/systemd/system/multi-user.target.wants/vpnami-firstboot.service", ""},
		{"units", "etc/systemd/system/timers.target.wants/vpnami-sync.timer", ""},
		{"units", "etc/systemd/system/multi-user.target.wants/ssh.service", "/etc/systemd/system (neither ssh.service nor ssh.socket is enabled)"},
		{"forwarding", "etc/sysctl.d/90-vpnami.conf", `/usr/lib/sysctl.d/50-default.conf (net.ipv4.ip_forward is "0")`},
	} {
		t.Run(c.rule+" without "+c.path, func(t *testing.T) {
			root := cleanImage(t)
			if err := os.Remove(filepath.Join(root, c.path)); err != nil {
				t.Fatal(err)
			}
			finds(t, root, c.rule, cmp.Or(c.at, "/"+c.path+" (is not there)"))
		})
		shown[c.rule] = true
	}
	// Tests of their own show these.
	for _, rule := range []string{"foreign-setuid", "file-capability", "sudoers"} {
		shown[rule] = true
	}
	for _, rule := range imageRules() {
		if !shown[rule.id] {
			t.Errorf("rule %q is not shown to find anything", rule.id)
		}
	}
}

// TestCheckImageLeavesExamples: cloud-init's own files have a key for an example.
func TestCheckImageLeavesExamples(t *testing.T) {
	root := cleanImage(t)
	put(t, root, "usr/lib/python3/dist-packages/cloudinit/config/cc_ssh.py", "  ssh_keys:\n    rsa_private: |\n      -----BEGIN RSA PRIVATE KEY-----\n      MIIBxwIBAAJhAKD0YSHy73nUgysO13XsJmd4fHiFyQ\n")
	if found, err := checkImage(root); err != nil || len(found) > 0 {
		t.Errorf("got %+v, %v", found, err)
	}
}

// TestCheckImageFindsWhatOverrules has what makes nothing of a promise that stands
// there all the same.
func TestCheckImageFindsWhatOverrules(t *testing.T) {
	for name, c := range map[string]struct {
		spoil    func(root string) error
		rule, at string
	}{
		"a filter that accepts": {func(root string) error {
			return appendTo(root, "etc/iptables/rules.v4", "-A INPUT -j ACCEPT\n")
		},
			"packet-filter", "/etc/iptables/rules.v4 (has the line \"-A INPUT -j ACCEPT\")"},
		"a masked unit": {func(root string) error {
			return os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system/vpnami-firstboot.service"))
		},
			"units", "/etc/systemd/system/vpnami-firstboot.service (is masked)"},
		"a masked filter": {func(root string) error {
			return os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system/netfilter-persistent.service"))
		},
			"packet-filter", "/etc/systemd/system/netfilter-persistent.service (is masked)"},
		"a key of an account elsewhere": {func(root string) error {
			return errors.Join(appendTo(root, "etc/passwd", "ci:x:1001:1001::/var/lib/ci:/bin/bash\n"), appendTo(root, "var/lib/ci/.ssh/authorized_keys", "ssh-ed25519 AAAA ci\n"))
		}, "authorized-key", "/var/lib/ci/.ssh/authorized_keys"},
		"a key by a link": {func(root string) error {
			path := filepath.Join(root, "root/.ssh/authorized_keys")
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink("/srv/keys", path))
		}, "authorized-key", "/root/.ssh/authorized_keys"},
	} {
		t.Run(name, func(t *testing.T) {
			root := cleanImage(t)
			if err := c.spoil(root); err != nil {
				t.Fatal(err)
			}
			finds(t, root, c.rule, c.at)
		})
	}
}

// appendTo adds to a file under a root.
func appendTo(root, path, text string) error {
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// A configuration that includes nothing keeps to nothing: sshd's own defaults
// let passwords in.
func TestCheckImageSSHDNotIncluded(t *testing.T) {
	root := cleanImage(t)
	put(t, root, "etc/ssh/sshd_config", "PasswordAuthentication no\n")
	found, err := checkImage(root)
	if err != nil || len(found) != 6 {
		t.Errorf("got %+v, %v; want all keywords but one", found, err)
	}
}

// finds asserts that one thing is found, and nothing else; with no place, that
// nothing is.
func finds(t *testing.T, root, rule, at string) {
	t.Helper()
	found, err := checkImage(root)
	if err != nil {
		t.Fatal(err)
	}
	if at == "" {
		if len(found) != 0 {
			t.Errorf("got %+v, want nothing", found)
		}
		return
	}
	if len(found) != 1 || found[0].Rule != rule || found[0].Path != at || found[0].Remedy == "" || found[0].Reason == "" {
		t.Errorf("got %+v, want %s at %s", found, rule, at)
	}
	var out, errs bytes.Buffer
	if code := command(t.Context(), []string{"check-image", "--root", root}, &out, &errs); code != exitFound {
		t.Errorf("exit code %d", code)
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
