// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixedBundle has fixed names and serials; its keys differ from run to run,
// and are no part of the goldens.
func fixedBundle(t *testing.T) bundle.Bundle {
	t.Helper()
	a := newAuthority(t,
		bundle.Person{Name: "client1", Serials: []*big.Int{big.NewInt(1000), big.NewInt(1001)}},
		bundle.Person{Name: "desk.admin", Address: netip.MustParseAddr("10.0.255.10")},
	)
	a.access.CRL = a.CRL(7, big.NewInt(1002), new(big.Int).Lsh(big.NewInt(1), 126))
	return a.bundle(t)
}

func TestRender(t *testing.T) {
	where := placement{current: currentFolder, hook: admitHook, offload: offloadFile}
	for name, c := range map[string]Config{
		"article":     articleConfig(t),
		"all":         articleConfig(t, "network: 10.0.255.0/25", "routes: [10.0.0.0/16, 10.7.0.0/24]", "port: 4433", "proto: tcp", "dns: [10.0.0.2]", "ssh: tunnel"),
		"routed":      articleConfig(t, "network: 10.0.255.0/24", "nat: masquerade"),
		"slot":        articleConfig(t, "egress: [10.0.2.0/24]", "health: tcp"),
		"per-client":  ownConfig(t),
		"step":        {Role: RoleStep},
		"routed-step": {Role: RoleStep, Network: prefix("172.16.0.0/24")},
	} {
		if name == "routed" {
			c.NAT = natRouted
		}
		t.Run(name, func(t *testing.T) {
			files, err := render(c, fixedBundle(t), where, articleInstance())
			if err != nil {
				t.Fatal(err)
			}
			var listing strings.Builder
			for _, f := range files {
				fmt.Fprintf(&listing, "%s %s\n", f.Mode, f.Path)
				switch {
				case strings.HasPrefix(f.Path, "ccd/"), strings.HasPrefix(f.Path, "serials/"):
					for line := range strings.Lines(string(f.Data)) {
						fmt.Fprintf(&listing, "    %s", line)
					}
				case f.Path == "server.conf", f.Path == probeConfig, f.Path == rules4, f.Path == rules6:
					golden(t, filepath.Join("testdata", "render", name, filepath.Base(f.Path)), f.Data)
				}
			}
			golden(t, filepath.Join("testdata", "render", name, "listing"), []byte(listing.String()))
		})
	}
	golden(t, filepath.Join("testdata", "render", "base", rules4), baseRules())
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		put(t, ".", path, string(got))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run the test with -update and look at the difference", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: run the test with -update and look at the difference:\n%s", path, diff)
	}
}

func TestRenderIsPure(t *testing.T) {
	b, c, where := fixedBundle(t), articleConfig(t), placement{current: currentFolder, hook: admitHook, offload: offloadFile}
	one, err1 := render(c, b, where, articleInstance())
	two, err2 := render(c, b, where, articleInstance())
	if err1 != nil || err2 != nil || digest(one) != digest(two) {
		t.Errorf("the same arguments give different files: %v, %v", err1, err2)
	}
}

func TestRenderKeepsSecretsToTheirFiles(t *testing.T) {
	b := fixedBundle(t)
	files, err := render(articleConfig(t), b, placement{current: currentFolder, hook: admitHook, offload: offloadFile}, articleInstance())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Mode.Perm()&0o027 != 0 {
			t.Errorf("%s can be read by everybody, or changed by the daemon: %s", f.Path, f.Mode)
		}
		if strings.Contains(string(f.Data), "PRIVATE KEY") && !strings.HasSuffix(f.Path, ".key") {
			t.Errorf("%s has a key in it", f.Path)
		}
	}
}

// TestFilePrintsNoKey, whoever prints it and how.
func TestFilePrintsNoKey(t *testing.T) {
	file := File{"server.key", fileMode, []byte("PRIVATE")}
	in := intent{files: []File{file}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "file", file, "files", in.files, "in", in)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "file", file, "files", in.files, "in", in)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{file, &file, in.files, in, &in} {
			fmt.Fprintf(&log, verb+"\n", value)
		}
	}
	for _, shown := range []string{"PRIVATE", fmt.Sprintf("%x", "PRIVATE"), "80 82 73 86 65 84 69", base64.StdEncoding.EncodeToString([]byte("PRIVATE"))} {
		if strings.Contains(log.String(), shown) {
			t.Errorf("printed as %q: %s", shown, log.String())
		}
	}
	if !strings.Contains(log.String(), "server.key (-rw-r-----, 7 bytes)") {
		t.Errorf("it does not say which: %s", log.String())
	}
}

// TestBakedRules: the image's own rules are those that the program puts back.
func TestBakedRules(t *testing.T) {
	for name, own := range map[string][]byte{rules4: baseRules(), rules6: closedRules6()} {
		baked, err := os.ReadFile(filepath.Join("../images/rootfs/etc/iptables", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(essence(baked), essence(own)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// essence leaves out of rules what decides nothing: comments, what is logged,
// and the empty table with which the program undoes another role's.
func essence(rules []byte) []string {
	text, empty, _ := strings.Cut(string(rules), "*nat\n")
	if strings.Contains(empty, "-A ") {
		text += empty
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "-j LOG") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestPlanAddresses(t *testing.T) {
	for network, want := range map[string]string{
		"10.0.255.0/24": "10.0.255.1 10.0.255.128-10.0.255.253 10.0.255.254 253 255.255.255.0",
		"10.0.255.8/29": "10.0.255.9 10.0.255.12-10.0.255.13 10.0.255.14 5 255.255.255.248",
		"10.1.0.0/16":   "10.1.0.1 10.1.128.0-10.1.255.253 10.1.255.254 65533 255.255.0.0",
	} {
		p := bundle.PlanAddresses(prefix(network))
		if got := fmt.Sprintf("%s %s-%s %s %d %s", p.Gateway, p.PoolFirst, p.PoolLast, p.Probe, p.Clients(), p.Mask()); got != want {
			t.Errorf("%s: got %s, want %s", network, got, want)
		}
	}
}

func TestPlanRefusesAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		addresses []string
		words     string
	}{
		"free":        {[]string{"10.0.255.2", "10.0.255.127"}, ""},
		"gateway":     {[]string{"10.0.255.1"}, "allowed are 10.0.255.2 to 10.0.255.127"},
		"pool":        {[]string{"10.0.255.128"}, "allowed are"},
		"probe":       {[]string{"10.0.255.254"}, "allowed are"},
		"elsewhere":   {[]string{"10.0.3.3"}, "allowed are"},
		"twice":       {[]string{"10.0.255.9", "10.0.255.9"}, "\"person0\" has it already"},
		"IPv6 mapped": {[]string{"::ffff:10.0.255.9"}, "allowed are"},
	} {
		t.Run(name, func(t *testing.T) {
			var people []bundle.Person
			for i, address := range c.addresses {
				people = append(people, bundle.Person{Name: fmt.Sprintf("person%d", i), Address: netip.MustParseAddr(address)})
			}
			err := bundle.PlanAddresses(prefix("10.0.255.0/24")).Judge(people)
			if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRulesLoad: the kernel takes every file, whole, and twice.
func TestRulesLoad(t *testing.T) {
	need(t, "iptables-restore", "ip6tables-restore", "ip")
	files, err := filepath.Glob("testdata/render/*/rules.v*")
	if err != nil || len(files) < 8 {
		t.Fatalf("got %q, %v", files, err)
	}
	for _, path := range files {
		t.Run(path, func(t *testing.T) {
			isolate(t)
			program := "iptables-restore"
			if strings.HasSuffix(path, ".v6") {
				program = "ip6tables-restore"
			}
			for _, arguments := range []string{"--test", "", ""} {
				sh(t, program+" "+arguments+" < "+path)
			}
			rules, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(rules), "eth0") || strings.Contains(string(rules), "ens5") {
				t.Error("names a network card")
			}
			saved := sh(t, strings.Replace(program, "restore", "save", 1))
			if !strings.Contains(saved, ":FORWARD DROP") || !strings.Contains(saved, ":INPUT DROP") {
				t.Errorf("does not drop by default:\n%s", saved)
			}
		})
	}
}

// TestTwinsByCapitals: to OpenVPN "twin" and "Twin" are two; the real hook lets each
// in with their own certificate, and with nobody else's.
func TestTwinsByCapitals(t *testing.T) {
	b := fixedBundle(t)
	b.Access.Roster = append(b.Access.Roster,
		bundle.Person{Name: "twin", Serials: []*big.Int{big.NewInt(1001)}},
		bundle.Person{Name: "imported-3ea", CommonName: "Twin", Serials: []*big.Int{big.NewInt(1002)}})
	files, err := render(articleConfig(t), b, placement{current: currentFolder, hook: admitHook, offload: offloadFile}, articleInstance())
	if err != nil {
		t.Fatal(err)
	}
	current := t.TempDir()
	for _, f := range files {
		if folder := filepath.Dir(f.Path); folder != "serials" && folder != "ccd" && f.Path != boundFile {
			continue
		}
		path := filepath.Join(current, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("../images/rootfs/usr/lib/vpnami/admit")
	if err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(t.TempDir(), "admit")
	if err := os.WriteFile(hook, bytes.ReplaceAll(script, []byte(currentFolder), []byte(current)), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, serial string
		in           bool
	}{{"twin", "1001", true}, {"Twin", "1002", true}, {"twin", "1002", false}, {"Twin", "1001", false}, {"imported-3ea", "1002", true}} {
		asked := exec.Command("/bin/sh", hook, "file")
		asked.Env = []string{"common_name=" + c.name, "tls_serial_0=" + c.serial, "trusted_ip=198.51.100.11"}
		if said, err := asked.CombinedOutput(); (err == nil) != c.in {
			t.Errorf("%s with the serial %s: %v %s, want in: %v", c.name, c.serial, err, said, c.in)
		}
		if _, err := os.Stat(filepath.Join(current, "ccd", c.name)); err != nil {
			t.Error(err)
		}
		// The same name and number, signed by somebody whom the CA has signed.
		below := exec.Command("/bin/sh", hook, "file")
		below.Env = append(asked.Env, "tls_serial_1=7", "tls_serial_2=1")
		if below.Run() == nil {
			t.Errorf("%s is let in below another certificate", c.name)
		}
	}
}
