// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var byValue = cmp.Options{
	cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}),
	cmpopts.EquateEmpty(),
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func TestConfigure(t *testing.T) {
	article := Config{
		Role:    RoleVPN,
		Secret:  SecretNames{Server: "vpn/office/server", Access: "vpn/office/access"},
		Network: prefix("10.0.255.0/24"),
		Routes:  []netip.Prefix{prefix("10.0.0.0/16")},
		Port:    1194,
		Proto:   "udp",
		NAT:     "masquerade",
		SSH:     "vpc",
		Health:  "none",
	}
	with := func(edit func(*Config)) Config {
		c := article
		edit(&c)
		return c
	}
	for name, c := range map[string]struct {
		text string
		want Config
	}{
		"least":             {"role: vpn\nsecret: vpn/office\n", article},
		"windows line ends": {"role: vpn\r\nsecret: vpn/office\r\n", article},
		"json":              {"{\"role\": \"vpn\", \"secret\": \"vpn/office\"}\n", article},
		"all": {"role: vpn\nsecret: a/b\nnetwork: 172.16.0.0/20\nroutes: [10.0.0.0/16, 10.7.0.0/24]\nport: 4433\nproto: tcp\ndns: [10.0.0.2, 10.0.0.3]\nnat: routed\nssh: tunnel\negress: [10.0.2.0/24]\nhealth: tcp\n",
			Config{RoleVPN, SecretNames{"a/b/server", "a/b/access"}, prefix("172.16.0.0/20"), []netip.Prefix{prefix("10.0.0.0/16"), prefix("10.7.0.0/24")}, 4433, "tcp", []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")}, "routed", "tunnel", []netip.Prefix{prefix("10.0.2.0/24")}, "tcp", nil, nil, nil}},
		"arns": {"role: vpn\nsecret:\n  server: arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:vpn/office/server-AbCdEf\n  access: arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:vpn/office/access-AbCdEf\n",
			with(func(c *Config) {
				c.Secret = SecretNames{"arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:vpn/office/server-AbCdEf", "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:vpn/office/access-AbCdEf"}
			})},
		"smallest":    {"role: vpn\nsecret: vpn/office\nnetwork: 10.0.255.8/29\n", with(func(c *Config) { c.Network = prefix("10.0.255.8/29") })},
		"largest":     {"role: vpn\nsecret: vpn/office\nnetwork: 10.1.0.0/16\n", with(func(c *Config) { c.Network = prefix("10.1.0.0/16") })},
		"step":        {"role: step\n", Config{Role: RoleStep}},
		"carrier's":   {"role: vpn\nsecret: vpn/office\nnetwork: 100.64.0.0/16\n", with(func(c *Config) { c.Network = prefix("100.64.0.0/16") })},
		"routed step": {"role: step\nnetwork: 172.16.0.0/24\n", Config{Role: RoleStep, Network: prefix("172.16.0.0/24")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := configure(launched("#vpnami\n" + c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, byValue); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestConfigureRefuses: each with the key's name, its value and what is allowed.
func TestConfigureRefuses(t *testing.T) {
	good := map[string]string{"role": "vpn", "secret": "vpn/office"}
	for _, c := range []struct{ key, value, words string }{
		{"role", "", "\"role\" is missing: required is one of \"vpn\", \"step\""},
		{"role", "server", "\"role\" is \"server\" (line 2): allowed is one of"},
		{"role", "[vpn]", "\"role\" is a list"},
		{"role", "null", "\"role\" is nothing"},
		{"secret", "", "\"secret\" is missing"},
		{"secret", "5", "\"secret\" is \"5\""},
		{"secret", "/vpn", "has an empty part"},
		{"secret", "vpn office", "has ' ' in it"},
		{"secret", "{server: arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:a-AbCdEf}", "\"secret.access\" is missing"},
		{"secret", "{server: x, access: y}", "\"secret.server\" is \"x\""},
		{"secret", "{server: arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf, access: arn:aws:secretsmanager:eu-west-1:123456789012:secret:b-AbCdEf}", "of the region \"eu-west-1\""},
		{"secret", "{servers: x}", "\"secret.servers\" is unknown"},
		{"network", "10.0.255.0", "\"network\" is \"10.0.255.0\""},
		{"network", "10.0.255.5/24", "an address in the network \"10.0.255.0/24\""},
		{"network", "fd00::/64", "allowed is an IPv4 network"},
		{"network", "24", "\"network\" is \"24\""},
		{"network", "10.0.255.0/30", "too small"},
		{"network", "10.0.255.4/31", "too small"},
		{"network", "172.0.0.0/8", "too large"},
		{"network", "169.254.10.0/24", "link-local"},
		{"network", "127.1.0.0/24", "loopback"},
		{"network", "224.1.0.0/24", "multicast"},
		{"network", "10.0.1.0/24", "the instance's own address"},
		{"network", "10.0.0.0/24", "the subnet's network address"},
		{"network", "10.0.0.0/16", "(the instance's own address)"},
		{"network", "203.0.113.0/24", "own public address"},
		{"network", "8.8.8.0/24", "\"8.8.8.0/24\" is of the internet's addresses"},
		{"network", "172.32.0.0/16", "allowed are parts of 10.0.0.0/8"},
		{"network", "100.128.0.0/24", "100.64.0.0/10"},
		{"dns", "[10.0.0.2, 10.0.0.2]", "\"dns[1]\" \"10.0.0.2\" is there twice"},
		{"secret", "{server: arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:a-AbCdEf, access: arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:a-AbCdEf}", "twice (line"},
		{"network", "[10.0.255.0/24]", "\"network\" is a list"},
		{"routes", "10.0.0.0/16", "allowed is a list"},
		{"routes", "[]", "a list of 0"},
		{"routes", "[10.0.0.1/16]", "\"routes[0]\""},
		{"routes", "[10.0.0.0/16, 10.0.0.0/16]", "\"routes[1]\" \"10.0.0.0/16\" is there twice"},
		{"routes", "[0.0.0.0/0]", "is every address"},
		{"routes", "[169.254.0.0/16]", "link-local"},
		{"routes", "[169.254.169.254/32]", "link-local"},
		{"routes", "[128.0.0.0/1]", "link-local"},
		{"routes", "[10.0.255.0/25]", "lies in the tunnel network"},
		{"routes", "[203.0.113.0/24]", "the tunnel would be sent into itself"},
		{"routes", "[yes]", "\"routes[0]\""},
		{"port", "70000", "\"port\" is \"70000\" (line"},
		{"port", "0", "from 1024 to 65535"},
		{"port", "22", "from 1024 to 65535"},
		{"port", "443", "no right to lower ports"},
		{"port", "-1", "\"port\" is \"-1\""},
		{"port", "\"1194\"", "without quotes"},
		{"port", "1194.5", "whole number"},
		{"port", "0x4aa", "\"port\" is \"0x4aa\""},
		{"port", "true", "\"port\" is \"true\""},
		{"proto", "sctp", "one of \"udp\", \"tcp\""},
		{"proto", "UDP", "one of \"udp\", \"tcp\""},
		{"dns", "10.0.0.2", "allowed is a list"},
		{"dns", "[ten]", "\"dns[0]\" is \"ten\""},
		{"dns", "[fd00::2]", "an IPv4 address"},
		{"dns", "[169.254.169.253]", "link-local"},
		{"dns", "[10.0.255.1]", "where no DNS server is"},
		{"dns", "[10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5]", "1 to 3 entries"},
		{"nat", "per-client", "\"addresses\" is missing: required with \"nat: per-client\" are networks of the instance's subnet 10.0.0.0/16"},
		{"addresses", "[10.0.1.64/26]", "\"addresses\" is for \"nat: per-client\" only"},
		{"nat", "snat", "one of \"masquerade\", \"per-client\", \"routed\""},
		{"nat", "routed", "which a VPC cannot route"},
		{"ssh", "yes", "one of \"vpc\", \"tunnel\""},
		{"egress", "[8.8.8.0/24]", "allowed are networks of its subnets"},
		{"egress", "[10.0.255.0/25]", "overlaps the tunnel network"},
		{"egress", "10.0.2.0/24", "a list of IPv4 networks"},
		{"health", "1195", "one of \"none\", \"tcp\""},
		{"sceret", "x", "\"sceret\" is unknown: allowed are \"role\""},
		{"<<", "{port: 1}", "\"<<\" is unknown"},
		{"? [a]", "1", "is unknown"},
	} {
		t.Run(c.key+" "+c.value, func(t *testing.T) {
			keys := map[string]string{}
			for key, value := range good {
				keys[key] = value
			}
			keys[c.key] = c.value
			text := "#vpnami\n"
			for _, key := range append([]string{"role", "secret"}, c.key) {
				if value := keys[key]; value != "" {
					if strings.HasPrefix(key, "?") {
						text += key + "\n: " + value + "\n"
					} else {
						text += fmt.Sprintf("%s: %s\n", key, value)
					}
				}
				delete(keys, key)
			}
			_, err := configure(launched(text))
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want words %q", err, c.words)
			}
			if state, advice := verdict(err); state != Refused || advice == "" {
				t.Errorf("state %s, advice %q", state, advice)
			}
		})
	}
}

func TestConfigureRefusesDocuments(t *testing.T) {
	for name, c := range map[string]struct{ text, words string }{
		"second document":  {"#vpnami\nrole: step\n---\nrole: vpn\n", "second YAML document"},
		"a list":           {"#vpnami\n- role\n", "not made of \"key: value\""},
		"a word":           {"#vpnami\nvpn\n", "not made of \"key: value\""},
		"empty":            {"#vpnami\n", "\"role\" is missing"},
		"not yaml":         {"#vpnami\nrole: [\n", "yaml"},
		"a key twice":      {"#vpnami\nrole: step\nrole: vpn\n", "\"role\" is there twice"},
		"all at once":      {"#vpnami\nrole: vpn\nport: 1\nproto: x\n", "\"secret\" is missing"},
		"step with secret": {"#vpnami\nrole: step\nsecret: vpn/office\n", "\"secret\" is for the role vpn only"},
		"two":              {multi(part("text/vpnami", "#vpnami\nrole: step\n"), part("text/plain", "#vpnami\nrole: vpn\n")), "2 documents"},
		"typed only":       {multi(part("text/vpnami", "role: step\n")), "does not begin with the line \"#vpnami\""},
		"encoding":         {"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/vpnami\nContent-Transfer-Encoding: x-uuencode\n\nabc\n--B--\n", "Content-Transfer-Encoding"},
		"encoding of ours": {"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Transfer-Encoding: quoted-printable\n\n#vpnami\nrole: step\n--B--\n", "quoted-printable"},
		"encoding, alone":  {"Content-Type: text/vpnami\nContent-Transfer-Encoding: x-uuencode\n\nabc\n", "x-uuencode"},
		"typed, alone":     {"Content-Type: text/vpnami\n\nrole: step\n", "does not begin with the line"},
		"bomb":             {compressed("#vpnami\n" + strings.Repeat(" ", 2<<20)), "unpacks to more than"},
		"nested":           {nested(5), "more than 3 deep"},
		"broken archive":   {"Content-Type: multipart/mixed; boundary=B\n\n--B\n\nrole: step\n", "MIME archive"},
		"alias":            {"#vpnami\nrole: &r vpn\nsecret: *r\n", "\"secret\" is a reference"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := configure(launched(c.text))
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want words %q", err, c.words)
			}
		})
	}
}

func part(kind, text string) string {
	return "Content-Type: " + kind + "\r\n\r\n" + text
}

func multi(parts ...string) string {
	out := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"==B==\"\r\n\r\n"
	for _, p := range parts {
		out += "--==B==\r\n" + p + "\r\n"
	}
	return out + "--==B==--\r\n"
}

func nested(levels int) string {
	inner := part("text/plain", "#vpnami\nrole: step\n")
	for i := range levels {
		boundary := fmt.Sprintf("B%d", i)
		inner = "Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n" + inner + "\r\n--" + boundary + "--\r\n"
	}
	return "MIME-Version: 1.0\r\n" + inner
}

func compressed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func TestFindDocument(t *testing.T) {
	const ours = "#vpnami\nrole: step\n"
	cloud := part("text/cloud-config; charset=\"utf-8\"", "#cloud-config\nhostname: a\n")
	coded := "Content-Type: text/vpnami\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(ours))
	for name, text := range map[string]string{
		"plain":           ours,
		"space":           "#vpnami \t\r\nrole: step\n",
		"byte order mark": "\xef\xbb\xbf" + ours,
		"gzip":            compressed(ours),
		"part":            multi(cloud, part("text/vpnami", ours)),
		"alone":           "MIME-Version: 1.0\n" + part("text/vpnami", ours),
		"alone in base64": coded,
		"encoded beside":  multi("Content-Type: text/cloud-config\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n#cloud-config\r\n", part("text/vpnami", ours)),
		"untyped part":    multi(part("text/plain", ours), cloud),
		"base64 part":     multi(cloud, coded),
		"gzip of archive": compressed(multi(cloud, part("text/vpnami", ours))),
		"archive in it":   nested(2),
		"encoded twice":   base64.StdEncoding.EncodeToString([]byte(ours)) + "\n",
		"archive twice":   base64.StdEncoding.EncodeToString([]byte(compressed(multi(cloud, part("text/vpnami", ours))))),
		"part of gzip":    multi("Content-Type: text/vpnami\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(compressed(ours)))),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := configure(launched(text))
			if err != nil || c.Role != RoleStep {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

func TestWaitsWithoutDocument(t *testing.T) {
	for name, text := range map[string]string{
		"none":         "",
		"cloud-config": "#cloud-config\nhostname: a\n",
		"script":       "#!/bin/sh\necho hello: world\n",
		"archive":      multi(part("text/cloud-config", "#cloud-config\n")),
		"alike":        "#vpnamix\nrole: step\n",
		"binary":       "\x00\x01\x02",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := configure(launched(text))
			if state, advice := verdict(err); err == nil || state != Waiting || !strings.Contains(advice, "#vpnami") {
				t.Errorf("got %v, state %s, advice %q", err, state, advice)
			}
		})
	}
}

func FuzzConfigure(f *testing.F) {
	f.Add([]byte("#vpnami\nrole: vpn\nsecret: vpn/office\nnetwork: 10.0.255.0/24\nroutes: [10.0.0.0/16]\nport: 1194\n"))
	f.Add([]byte("#vpnami\nrole: step\n"))
	f.Add([]byte(compressed("#vpnami\nrole: step\n")))
	f.Add([]byte(base64.StdEncoding.EncodeToString([]byte("#vpnami\nrole: step\n"))))
	f.Add([]byte(multi(part("text/vpnami", "#vpnami\nrole: step\n"))))
	f.Add([]byte("#vpnami\nrole: vpn\nsecret: {server: a, access: b}\n"))
	f.Add([]byte("#vpnami\nrole: vpn\nsecret: vpn/office\nnat: per-client\naddresses: [10.0.1.64/26, 10.0.1.16/28]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		i := articleInstance()
		i.UserData, i.Prefixes = data, []netip.Prefix{prefix("10.0.1.16/28")}
		c, err := configure(i)
		if err != nil {
			return
		}
		// Whatever is accepted can be rendered, and lets no client out of bounds.
		for _, route := range c.Routes {
			if route.Contains(netip.MustParseAddr("169.254.169.254")) || route.Bits() == 0 {
				t.Errorf("accepts the route %s", route)
			}
		}
		for _, piece := range slices.Concat(c.Own, c.Missing) {
			if !partOf(piece.VPC, []netip.Prefix{i.Subnet}) || !partOf(piece.Tunnel, []netip.Prefix{c.Network}) || piece.VPC.Bits() != piece.Tunnel.Bits() || piece.VPC.Contains(i.Address) {
				t.Errorf("has %s go out as %s", piece.Tunnel, piece.VPC)
			}
		}
		if c.Role == RoleVPN && (c.Network.Contains(i.Address) || c.Network.Bits() > 29 || c.Network.Bits() < 16 || c.Port < lowestPort) {
			t.Errorf("accepts %+v", c)
		}
	})
}
