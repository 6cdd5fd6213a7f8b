// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	lines, err := Parse([]byte("\ufeff# a comment\r\n;another\n\tpush \"route 10.0.0.0 255.255.0.0\" # words\nkey 'my key'\\ 1\nremote a#b 1194\n--verb 3\n" +
		"<ca>\n-----BEGIN\ncomp-lzo\n</ca>\n<connection>\nremote vpn 443 tcp\n</connection>\nup \"\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{Number: 3, Name: "push", Args: []string{"route 10.0.0.0 255.255.0.0"}},
		{Number: 4, Name: "key", Args: []string{"my key", "1"}},
		{Number: 5, Name: "remote", Args: []string{"a#b", "1194"}},
		{Number: 6, Name: "verb", Args: []string{"3"}},
		{Number: 7, Name: "ca", Inlined: true, Inline: "-----BEGIN\ncomp-lzo\n"},
		{Number: 11, Name: "connection", Inlined: true},
		{Number: 12, Name: "remote", Args: []string{"vpn", "443", "tcp"}, Connection: 1},
		{Number: 14, Name: "up", Args: []string{""}},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"verb 3\nkey \"x":  "line 2: a quote has no end",
		"verb 3\nkey 'x":   "line 2: a quote has no end",
		"key x\\":          "line 1: a backslash has nothing behind it",
		"verb 3\ncd C:\\x": "line 2: a backslash stands before what needs none",
		"<ca>\nx":          "line 1: <ca> has no end </ca>",
		"verb 3\n#" + strings.Repeat("x", 254) + "\n":                      "line 2: it is too long: OpenVPN does not start",
		"<connection>\n#" + strings.Repeat("x", 254) + "\n</connection>\n": "line 2: it is too long",
		"verb\x00 3": "there is a NUL in it",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestParseInline is what OpenVPN 2.6 takes for the beginnings and ends of what lies
// inline: what it takes for a directive must be one here, or a template could hide it.
func TestParseInline(t *testing.T) {
	long := strings.Repeat("x", 255)
	for text, want := range map[string][]Line{
		"#" + long[:253] + "\n<ca> # ours\nverb 9\n </ca> and more\nverb 3\n": {{Number: 2, Name: "ca", Inlined: true, Inline: "verb 9\n"}, {Number: 5, Name: "verb", Args: []string{"3"}}},
		"<connection> ;\nremote a\n</connection>.\nverb 3\n": {{Number: 1, Name: "connection", Inlined: true}, {Number: 2, Name: "remote", Args: []string{"a"}, Connection: 1},
			{Number: 4, Name: "verb", Args: []string{"3"}}},
		"<ca>\n" + long + "</ca>\nverb 3\n":                                {{Number: 1, Name: "ca", Inlined: true, Inline: long}, {Number: 3, Name: "verb", Args: []string{"3"}}},
		"<ca>\n</ca>" + long[:250] + "verb 3\n":                            {{Number: 1, Name: "ca", Inlined: true}, {Number: 2, Name: "verb", Args: []string{"3"}}},
		"--<ca>\nverb 9\n\v</ca>\nverb 3":                                  {{Number: 1, Name: "ca", Inlined: true, Inline: "verb 9\n"}, {Number: 4, Name: "verb", Args: []string{"3"}}},
		"</ca>\nverb 9\n<//ca>\nverb 3":                                    {{Number: 1, Name: "/ca", Inlined: true, Inline: "verb 9\n"}, {Number: 4, Name: "verb", Args: []string{"3"}}},
		"<connection>\n#" + long[:253] + "\nremote a\n</connection>\n":     {{Number: 1, Name: "connection", Inlined: true}, {Number: 3, Name: "remote", Args: []string{"a"}, Connection: 1}},
		"<>\nverb 9\n</>\n--\n":                                            {{Number: 1, Inlined: true, Inline: "verb 9\n"}, {Number: 4, Name: "--"}},
		"<connection>\nremote a\\\n\n<ca>\nverb 9\n</ca>\n</connection>\n": nil,
		"<connection>\nremote a\n<tls-auth>\nverb 9\n</tls-auth>\n</connection>\n<connection>\n</connection>\n": {{Number: 1, Name: "connection", Inlined: true},
			{Number: 2, Name: "remote", Args: []string{"a"}, Connection: 1}, {Number: 3, Name: "tls-auth", Inlined: true, Inline: "verb 9\n", Connection: 1}, {Number: 7, Name: "connection", Inlined: true}},
	} {
		lines, err := Parse([]byte(text))
		if want == nil && err != nil {
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

// TestLintTellsWhatIsMissing takes one line after another from configurations
// with which nothing is wrong.
func TestLintTellsWhatIsMissing(t *testing.T) {
	for role, lines := range map[Role][]string{
		Server: {"server 10.0.255.0 255.255.255.0", "dev tun", "ca ca.crt", "cert vpn.crt", "key vpn.key", "dh none", "topology subnet", "crl-verify revoked dir", "remote-cert-tls client", "tls-crypt-v2 key force-cookie", "persist-key"},
		Client: {"client", "dev tun", "ca ca.crt", "cert client1.crt", "key client1.key", "remote vpn.example.com 1194", "remote-cert-tls server", "verify-x509-name vpn.example.com name", "tls-crypt-v2 key"},
	} {
		findings := func(lines []string) []string {
			t.Helper()
			parsed, err := Parse([]byte(strings.Join(lines, "\n") + "\nuser nobody\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := RoleOf(parsed); got != role {
				t.Errorf("the role is %s, want %s", got, role)
			}
			var missing []string
			for _, f := range Lint(parsed) {
				if f.Instead != "" {
					missing = append(missing, f.Directive)
				}
			}
			return missing
		}
		if got := findings(lines); len(got) > 0 {
			t.Errorf("%s: %q", role, got)
		}
		for i, line := range lines[1:] {
			without := append(append([]string{}, lines[:i+1]...), lines[i+2:]...)
			name, _, _ := strings.Cut(line, " ")
			if got := findings(without); len(got) != 1 || got[0] != "no "+name {
				t.Errorf("%s without %q: %q", role, line, got)
			}
		}
	}
}

// TestPlaces has directives of one end at the other, and in a configuration of
// one peer that is a server to TLS only.
func TestPlaces(t *testing.T) {
	const server, bridge, peer, client = "server 10.8.0.0 255.255.255.0", "server-bridge", "tls-server\nremote 192.0.2.1", "client"
	for _, c := range []struct {
		configuration, line string
		role                Role
		want                Effect
		instead             string
	}{
		{server, "remote-cert-tls server", Server, Works, "remote-cert-tls client"},
		{client, "remote-cert-tls client", Client, Works, "remote-cert-tls server"},
		{server, "iroute 10.0.0.0 255.0.0.0", Server, Fatal, "a file for each client, in the folder of client-config-dir"},
		{client, "push-remove route", Client, Fatal, "a file for each client, in the folder of client-config-dir"},
		{bridge, "dh none", Server, Works, ""},
		{bridge + "\nclient-config-dir ccd", "ccd-exclusive", Server, Works, ""},
		{bridge, "ccd-exclusive", Server, Fatal, "client-config-dir FOLDER beside it, or " + nothing},
		{client, "ccd-exclusive", Client, Fatal, nothing},
		{peer, "ccd-exclusive", Server, Fatal, nothing},
		{peer, "shaper 1000", Server, Works, ""},
		{server, "shaper 1000", Server, Fatal, nothing},
		{server, "redirect-gateway def1", Server, Fatal, `push "redirect-gateway def1"`},
		{client, "redirect-gateway def1", Client, Works, ""},
		{client, "dh dh2048.pem", Client, Warns, nothing},
		{client, "persist-key", Client, Works, ""},
		{client, "tls-version-max 1.1", Client, Works, nothing},
		{client, "setenv opt tls-version-max 1.1", Client, Works, nothing},
	} {
		lines, err := Parse([]byte(c.line + "\n" + c.configuration + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		found := Lint(lines)[0]
		if role := RoleOf(lines); role != c.role || found.On26 != c.want || found.Instead != c.instead || found.Directive != c.line || found.Line != 1 {
			t.Errorf("%s in %q: %+v, of a %s", c.line, c.configuration, found, role)
		}
	}
}

// TestEachIsKnownOnce keeps a directive from being in two lists that differ.
func TestEachIsKnownOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, lines := range []string{inBoth, inEitherServer, inEitherClient, inServers, inClients, inPersonFiles, of27, strings.Join(strings.Fields(notAsked), "\n")} {
		for _, line := range sampleLines(lines) {
			// One that a client's configuration often has.
			if name := nameIn(line); seen[name] && name != "nobind" || name == "" {
				t.Errorf("%q is there twice", name)
			}
			seen[nameIn(line)] = true
		}
	}
}

// TestTagsBelongTogether has what OpenVPN does not start with: an end without a
// beginning, and a beginning without an end.
func TestTagsBelongTogether(t *testing.T) {
	for _, text := range []string{
		"client\n</ca>\n", "client\n<ca>\n", "client\n<connection>\nremote vpn 443\n",
		"<connection>\nremote a\n<ca>\nx\n</ca>\n", "<connection>\nremote a\n<ca>\n</connection>\n</ca>\n",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "has no end") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

// TestDangerIsTold has what OpenVPN takes without a word, or with one, and what
// lets somebody in, or others read along.
func TestDangerIsTold(t *testing.T) {
	const server = "server 10.8.0.0 255.255.255.0\n"
	for _, line := range []string{
		"management 0.0.0.0 7505", "management 0.0.0.0 7505 pw", "management 10.0.0.1 7505", "management tunnel 7505", "management 127.0.0.1 7505", "management localhost 7505",
		"script-security 3", "duplicate-cn", "client-to-client", "username-as-common-name", "auth-user-pass-optional", "auth-gen-token 28800",
		"cipher none", "cipher BF-CBC", "cipher NOSUCH", "data-ciphers none", "data-ciphers AES-256-GCM:NOSUCH", "data-ciphers ?NOSUCH", "data-ciphers-fallback BF-CBC", "ncp-ciphers BF-CBC", "auth NOSUCH",
		"keepalive 10", "max-clients", "script-security 3 system", "data-ciphers AES-256-GCM:none", "data-ciphers AES-256-GCM:?BF-CBC", "data-ciphers-fallback none", "auth none",
		"client-cert-not-required", "verify-client-cert none", "verify-client-cert optional", "tls-cert-profile insecure", "tls-version-min 1.0",
		"comp-lzo", "compress lz4-v2", "allow-compression yes", "push \"comp-lzo yes\"", "reneg-sec 0", "no-replay", "compat-mode 2.3.0",
	} {
		lines, err := Parse([]byte(server + line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if found := Lint(lines)[1]; found.Fine() || found.Instead == "" || found.Why == "" {
			t.Errorf("%s: %+v", line, found)
		}
	}
	for _, line := range []string{
		"management /run/openvpn-server/vpn.sock unix", "management 127.0.0.1 7505 pw", "management ::1 7505 pw", "script-security 2", "data-ciphers AES-256-GCM:CHACHA20-POLY1305", "verify-client-cert require",
		"auth-gen-token 28800 external-auth", "tls-cert-profile preferred", "tls-version-min 1.2", "allow-compression no", "push \"route 10.0.0.0 255.255.0.0\"", "reneg-sec 3600",
	} {
		lines, err := Parse([]byte(server + line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if found := Lint(lines)[1]; found.Instead != "" {
			t.Errorf("%s: %+v", line, found)
		}
	}
}

// TestNewIsToldFromUnknown has what only 2.7 takes, and what no version does.
func TestNewIsToldFromUnknown(t *testing.T) {
	for line, want := range map[string][2]Effect{
		"allow-deprecated-insecure-static-crypto": {Unknown, Works},
		"block-ipv6":                    {Works, Works},
		"http-proxy-retry":              {Warns, Ignored},
		"force-tls-key-material-export": {Fatal, Fatal},
		"foo-bar":                       {Unknown, Unknown},
		"setenv opt foo-bar":            {Warns, Warns},
		"setenv opt verb 3":             {Works, Works},
		"setenv opt no-iv":              {Warns, Warns},
		"setenv opt ifconfig-pool a b":  {Fatal, Fatal},
		"setenv opt --verb 3":           {Warns, Warns},
		"setenv opt route-table 5":      {Warns, Works},
		"setenv opt":                    {Warns, Warns},
		"server-bridge nogw":            {Works, Works},
		"block-outside-dns":             {Fatal, Fatal},
		"setenv opt block-outside-dns":  {Warns, Warns},
		"setenv opt keepalive 10":       {Warns, Warns},
		"<verb>\n3\n</verb>":            {Fatal, Fatal},
		"cert [inline]":                 {Fatal, Fatal},
		"<cert>\nx\n</cert>":            {Works, Works},
		"<dh>\n512\n</dh>":              {Warns, Warns},
		"ignore-unknown-option foo":     {Works, Works},
	} {
		lines, err := Parse([]byte("client\n" + line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if found := Lint(lines)[1]; found.On26 != want[0] || found.On27 != want[1] {
			t.Errorf("%s: %s and %s, want %v", line, found.On26, found.On27, want)
		}
	}
}

// TestIgnoreUnknownOption counts for what stands behind it, and in no <connection>.
func TestIgnoreUnknownOption(t *testing.T) {
	lines, err := Parse([]byte("foo\nignore-unknown-option --foo keepalive verb\nfoo\nkeepalive 10\nverb 3\n<connection>\nremote a\nfoo\n</connection>\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []Effect
	for _, found := range Lint(lines)[:len(lines)] {
		got = append(got, found.On26)
	}
	if diff := cmp.Diff([]Effect{Unknown, Works, Warns, Warns, Works, Works, Works, Unknown}, got); diff != "" {
		t.Error(diff)
	}
}

// TestConflicts has a directive of each conflict without what it is in conflict with,
// and with it. That OpenVPN does not start then is in TestOpenVPN.
func TestConflicts(t *testing.T) {
	const server = "server 10.8.0.0 255.255.255.0\n"
	for _, c := range []struct{ role, fine, fatal string }{ // the first line is looked at
		{"client", "tls-auth a", "tls-auth a\ntls-crypt b"},
		{"client", "tls-auth a", "tls-auth a\ntls-crypt-v2 b"},
		{server, "tls-auth a\ntls-crypt-v2 b", "tls-auth a\ntls-crypt b"},
		{"client", "tls-crypt a\n<connection>\nremote a\ntls-crypt-v2 b\n</connection>", "tls-crypt a\ntls-crypt-v2 b"},
		{"client", "http-proxy a 80\nproto tcp", "http-proxy a 80\nproto udp"},
		{"client", "http-proxy a 80\nremote a 1 tcp", "http-proxy a 80\nproto tcp\nremote a 1 udp\nremote a 1 tcp"},
		{"client", "http-proxy a 80\n<connection>\nremote a 1 tcp\n</connection>", "http-proxy a 80\n<connection>\nremote a 1 tcp\n</connection>\n<connection>\nremote a\n</connection>"},
		{server, "port-share a 443\nproto tcp4-server", "port-share a 443\nproto udp4"},
		{server, "connect-freq 1 2", "connect-freq 1 2\nproto tcp"},
		{"client", "fragment 1300", "fragment 1300\nproto tcp"},
		{"client", "lport 1", "lport 1\nnobind"},
		{"client", "cert a", "cert a\npkcs12 b"},
		{server, "vlan-tagging\ndev tap0", "vlan-tagging\ndev tun"},
		{"client", "management-hold\nmanagement a unix", "management-hold"},
		{"client", "tls-version-max 1.3\ntls-version-min 1.2 or-highest", "tls-version-max 1.2\ntls-version-min 1.3"},
		{"client", "keepalive 10 60", "keepalive 10 60\nping-restart 5"},
		{"client", "proto udp6", "proto sctp"},
		{"client", "remote a 1 tcp6-client", "remote a 1 http"},
		{"client", "tls-version-min 1.5 or-highest", "tls-version-min 1.5"},
		{"client", "crl-verify a dir", "crl-verify a file"},
		{"client", "verify-client-cert require", "verify-client-cert none"},
		{"verb 3", "tls-server", "tls-server\nclient"},
		{"client", "link-mtu 1400", "link-mtu 1400\ntun-mtu 1400"},
		{"client", "management-external-cert a\nmanagement b unix", "management-external-cert a\nmanagement b unix\ncert c"},
		{"client", "replay-window 64\nno-replay", "replay-window 128\nno-replay"},
		{server, "username-as-common-name\nplugin a", "username-as-common-name"},
		{"client", "<connection>\nremote a\n</connection>", "<connection>\nport 1\n</connection>\n<connection>\nremote a\n</connection>"},
		{server, "verb 3", "secret a"},
	} {
		for text, want := range map[string]bool{c.fine: false, c.fatal: true} {
			lines, err := Parse([]byte(text + "\n" + c.role))
			if err != nil {
				t.Fatal(err)
			}
			if found := Lint(lines)[0]; (found.On26 == Fatal) != want || want && (found.Why == "" || found.Instead == "") {
				t.Errorf("%q of %q: %+v", text, c.role, found)
			}
		}
	}
}

// TestScriptsNeedLeave has what OpenVPN does not run, and ends with.
func TestScriptsNeedLeave(t *testing.T) {
	for text, want := range map[string]Effect{
		"up a": Fatal, "up a\nscript-security 1": Fatal, "up a\nscript-security 2\nscript-security 0": Fatal, "client-connect a": Works,
		"up a\nscript-security 2": "", "tls-verify a\nscript-security 3": "", "verb 3": "",
	} {
		lines, err := Parse([]byte("server 10.8.0.0 255.255.255.0\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		var got Effect
		for _, found := range Lint(lines) {
			if found.Directive == "no script-security" {
				got = found.On26
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestWhatIsCountedIsKnown has each directive whose arguments are counted.
func TestWhatIsCountedIsKnown(t *testing.T) {
	for _, c := range counts() {
		for name := range strings.FieldsSeq(c.names) {
			if opinion(Line{Name: name, Args: make([]string, max(c.least, 1))}, Server, rules()).On26 == Unknown {
				t.Errorf("%s is counted and not known", name)
			}
		}
	}
}

// TestValues has arguments that OpenVPN does not take, and some that it takes for
// another. That it does so is in TestOpenVPN.
func TestValues(t *testing.T) {
	const server = "server 10.8.0.0 255.255.255.0"
	for line, want := range map[string]Finding{
		"hand-window 60":                 {On26: Works, On27: Works},
		"hand-window word":               {On26: Works, On27: Fatal, Why: `"word" is none: 2.6 takes it for 0`, Instead: "hand-window with a whole number from 0 on"},
		"hand-window 60s":                {On26: Works, On27: Fatal, Why: `"60s" is none: 2.6 takes it for 60`, Instead: "hand-window with a whole number from 0 on"},
		"script-security 4":              {On26: Works, On27: Fatal, Why: `"4" is none`, Instead: "script-security with a whole number from 0 to 3"},
		"fragment 10":                    {On26: Fatal, On27: Fatal, Why: `"10" is none`, Instead: "fragment with a whole number from 68 on"},
		"max-clients 1 2":                {On26: Fatal, On27: Fatal, Why: "it takes 1 argument and has 2: OpenVPN does not know it so", Instead: "the same with 1 argument"},
		"port 70000":                     {On26: Works, On27: Works, Why: "there is no such port: it is cut off, and becomes another", Instead: "port with a number from 1 to 65535"},
		"port openvpn":                   {On26: Works, On27: Works, Why: "where the machine's /etc/services does not have that name, OpenVPN does not start, or goes nowhere", Instead: "port with a number from 1 to 65535"},
		"port -1":                        {On26: Fatal, On27: Fatal, Why: `"-1" is none`, Instead: "port with a number from 1 to 65535"},
		"compat-mode 2.10.0":             {On26: Works, On27: Works},
		"dhcp-option DOMAIN example.com": {On26: Works, On27: Works},
		"dhcp-option DNS ns.example.com": {On26: Works, On27: Fatal, Why: `"ns.example.com" is none`, Instead: "dhcp-option with an address"},
		"tls-groups X25519":              {On26: Works, On27: Works, Why: "it switches off the post-quantum exchange that 2.7 has by default", Instead: nothing},
	} {
		lines, err := Parse([]byte(line + "\n" + server + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		want.Line, want.Directive = 1, line
		if diff := cmp.Diff(want, Lint(lines)[0]); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
	}
	for _, example := range ValueExamples() {
		lines, err := Parse([]byte(example.Line + "\n" + server + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if found := Lint(lines)[0]; found.On27 == Fatal && (found.Why == "" || found.Instead == "") {
			t.Errorf("%s: %+v", example.Line, found)
		}
	}
}
