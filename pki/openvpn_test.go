// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
)

// insideVariable tells a test process that it runs in a network namespace of
// its own.
const insideVariable = "VPNAMI_TEST_INSIDE"

// TestOpenVPN has OpenVPN itself judge what was issued. It runs once more in a
// network namespace, which goes away with it.
func TestOpenVPN(t *testing.T) {
	if os.Getenv(insideVariable) == "1" {
		testOpenVPNInside(t)
		return
	}
	need(t, "openvpn")
	need(t, "ip")
	if os.Geteuid() != 0 {
		if os.Getenv("VPNAMI_REQUIRE") == "1" {
			t.Fatal("a network namespace needs root, and VPNAMI_REQUIRE=1 forbids to skip")
		}
		t.Skip("SKIPPED: a network namespace needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestOpenVPN$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestOpenVPN/a_profile_connects")) {
		t.Errorf("inside the namespace: %v", err)
	}
}

const port = 1194

func testOpenVPNInside(t *testing.T) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	office, lab := newOffice(t, "office"), newOffice(t, "lab")

	t.Run("a profile connects", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		office.connects(t, server, "client1", "udp")
	})
	t.Run("a profile connects over TCP", func(t *testing.T) {
		server := office.serve(t, "tcp", "force-cookie")
		office.connects(t, server, "client1", "tcp")
		reaches(t, office.profile(t, "client1", "tcp", nil), ": open, answered in ")
	})
	t.Run("a profile connects to its second gateway while the first is down", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		client := start(t, office.profile(t, "client1", "udp", func(p *profile.Profile) {
			p.Remotes = append([]profile.Remote{{Host: "127.0.0.1", Port: 9}}, p.Remotes...)
		}))
		client.waitFor(t, "Initialization Sequence Completed")
		client.end(t)
		server.end(t)
	})
	t.Run("the probe connects", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		office.connects(t, server, "probe", "udp")
	})
	t.Run("reach", func(t *testing.T) {
		mine, theirs := office.profile(t, "client1", "udp", nil), lab.profile(t, "client1", "udp", nil)
		for _, cookie := range []string{"force-cookie", "allow-noncookie"} {
			stop := office.serve(t, "udp", cookie)
			reaches(t, mine, ": open, answered in ")
			reaches(t, theirs, ": no answer within 2s: check that the gateway is up, that its security group admits udp port 1194 from here")
			stop.end(t)
		}
		reaches(t, mine, ": refused: the machine is there and nothing listens on udp port 1194")
	})
	t.Run("reach knocks where OpenVPN connects", func(t *testing.T) { office.goesTo(t) })
	t.Run("another authority's profile is refused", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		refused(t, server, lab.profile(t, "client1", "udp", nil), "tls-crypt-v2")
	})
	t.Run("another authority's certificate is refused", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		text := office.profile(t, "client1", "udp", func(p *profile.Profile) {
			p.Certificate, p.Key = lab.client.Pair.Certificate, lab.client.Pair.Key
		})
		refused(t, server, text, "VERIFY ERROR")
	})
	t.Run("the server's certificate does not log in", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		text := office.profile(t, "client1", "udp", func(p *profile.Profile) {
			p.Certificate, p.Key = office.server.Certificate, office.server.Key
		})
		refused(t, server, text, "certificate purpose")
	})
	t.Run("a client does not pose as the server", func(t *testing.T) {
		_ = office.serveAs(t, "udp", "force-cookie", office.client.Pair)
		client := start(t, office.profile(t, "client1", "udp", nil))
		client.waitFor(t, "certificate purpose")
	})
	t.Run("a server of another name is refused", func(t *testing.T) {
		_ = office.serve(t, "udp", "force-cookie")
		client := start(t, office.profile(t, "client1", "udp", func(p *profile.Profile) { p.ServerName = "elsewhere" }))
		client.waitFor(t, "VERIFY X509NAME ERROR")
	})
	for _, kind := range authority.KeyTypes() {
		t.Run("a CA with a key of "+kind, func(t *testing.T) {
			other := newOfficeOf(t, "other", authority.KeyType(kind), "first.last_2")
			other.connects(t, other.serve(t, "udp", "force-cookie"), "first.last_2", "udp")
		})
	}
	for _, form := range profile.Forms() {
		t.Run("a profile in the form "+form+" connects", func(t *testing.T) {
			server := office.serve(t, "udp", "force-cookie")
			client := start(t, office.laid(t, profile.Form(form)))
			client.waitFor(t, "Initialization Sequence Completed")
			server.waitFor(t, "[client1] Peer Connection Initiated")
			client.complainsOfNothing(t)
		})
	}
	t.Run("a profile for the time of a migration connects to both gateways", func(t *testing.T) {
		both := func(p *profile.Profile) { p.Unwrapped = true }
		for _, server := range []*running{office.serve(t, "udp", "force-cookie"), nil} {
			if server == nil {
				server = start(t, office.unwrapped(t))
				server.waitFor(t, "Initialization Sequence Completed")
			}
			client := start(t, office.profile(t, "client1", "udp", both))
			client.waitFor(t, "Initialization Sequence Completed")
			server.waitFor(t, "[client1] Peer Connection Initiated")
			client.complainsOfNothing(t)
			client.end(t)
			server.end(t)
		}
	})
	t.Run("the article's profile connects while the window is open", func(t *testing.T) {
		folder := t.TempDir()
		for name, text := range map[string][]byte{
			"ca.crt": bundle.CertificatesPEM(office.folder.CA()), "client1.crt": bundle.CertificatesPEM(office.client.Pair.Certificate), "client1.key": office.client.Pair.Key.Reveal(),
			"client1.ovpn": []byte("client\ndev tun\nproto udp\nremote 127.0.0.1 1194\nresolv-retry infinite\nnobind\npersist-key\npersist-tun\nca ca.crt\ncert client1.crt\nkey client1.key\nns-cert-type server\ncomp-lzo\nverb 3\n"),
		} {
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		server := start(t, office.unwrapped(t))
		server.waitFor(t, "Initialization Sequence Completed")
		client := start(t, filepath.Join(folder, "client1.ovpn"))
		client.waitFor(t, "Initialization Sequence Completed")
		client.end(t)
		server.end(t)
		refused(t, office.serve(t, "udp", "force-cookie"), filepath.Join(folder, "client1.ovpn"), "TLS Error")
	})
	t.Run("lint says what OpenVPN does", func(t *testing.T) {
		out, err := exec.Command("openvpn", "--version").Output()
		if len(out) == 0 || !bytes.HasPrefix(out, []byte("OpenVPN 2.6.")) {
			t.Skipf("NOT FOR THIS VERSION: what is said of 2.6 is put to 2.6 only (%.20q, %v)", out, err)
		}
		for _, role := range []directives.Role{directives.Server, directives.Client} {
			t.Run(string(role)+" with all that is harmless", func(t *testing.T) { office.startsWithAll(t, role) })
		}
		t.Run("words", readsWords)
		t.Run("arguments", countsArguments)
		t.Run("ciphers and digests", listsCiphers)
		t.Run("server-bridge", func(t *testing.T) { office.bridgeNeedsDH(t) })
		for _, example := range directives.Examples() {
			for _, role := range []directives.Role{directives.Server, directives.Client} {
				if example.Role == "" || example.Role == role {
					t.Run(string(role)+" "+example.Line, func(t *testing.T) { office.judges(t, example, role) })
				}
			}
		}
	})
	t.Run("lint knows what OpenSSL decides", func(t *testing.T) { office.takesNewGroups(t) })
	t.Run("lint judges values as OpenVPN does", func(t *testing.T) { office.judgesValues(t) })
	t.Run("OpenVPN's own keys are read", func(t *testing.T) {
		keysOfOpenVPN(t)
	})
}

func refused(t *testing.T, server *running, profilePath, why string) {
	t.Helper()
	client := start(t, profilePath)
	server.waitFor(t, why)
	if strings.Contains(client.log(t), "Initialization Sequence Completed") {
		t.Error("the client connected")
	}
}

func reaches(t *testing.T, path, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	knock, err := readKnock(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	d := &desk{out: &out, err: &out, now: time.Now}
	err = d.reach(ctx, knock, 2*time.Second, false)
	if open := strings.Contains(want, "open"); !strings.Contains(out.String(), want) || open != (err == nil) {
		t.Errorf("%v\n%swant %q", err, out.String(), want)
	}
}
