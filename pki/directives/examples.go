// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"cmp"
	"slices"
	"strings"
)

// Example is a line to be put to OpenVPN.
type Example struct {
	Line string
	With []string // others beside it; "no NAME" takes one away
	Role Role     // empty: either
	On26 Effect
	On27 Effect // of [ValueExamples]
}

// Examples are a line for each rule that OpenVPN alone can judge, and for each
// directive that is out of its place, with what 2.6 does with it.
func Examples() []Example {
	var examples []Example
	for _, r := range rules() {
		if slices.Contains([]string{"secret", "tls-auth", "tls-crypt", "crl-verify"}, r.name) || r.name == "dh" && r.role == Server || r.name == "management" && r.example == "" {
			continue // they name files
		}
		if slices.Contains([]string{"auth-user-pass-optional", "username-as-common-name"}, r.name) {
			continue // they need a directive that names one
		}
		if r.example == newGroupsLine {
			continue // see [NewGroups]
		}
		line := r.example
		if line == "" {
			line = r.name
			if r.name == "compress" {
				line = "compress migrate"
			}
		}
		examples = append(examples, Example{Line: line, Role: r.role, On26: r.on26.told()})
		if r.on26 == removed {
			examples = append(examples, Example{Line: "setenv opt " + line, Role: r.role, On26: Warns})
		}
	}
	for _, line := range sampleLines(inPersonFiles) {
		examples = append(examples, Example{Line: line, On26: Fatal}, Example{Line: "setenv opt " + line, Role: Client, On26: Fatal})
	}
	for _, line := range sampleLines(inServers) {
		examples = append(examples, Example{Line: line, Role: Client, On26: Fatal})
	}
	for _, line := range sampleLines(inClients) {
		examples = append(examples, Example{Line: line, Role: Server, On26: Fatal})
	}
	for _, c := range conflicts() {
		examples = append(examples, Example{Line: c.example, With: c.with, Role: cmp.Or(c.mode, c.asked, Client), On26: Fatal})
	}
	for _, c := range choices() {
		examples = append(examples, Example{Line: c.name + strings.Repeat(" 1", c.at) + " nosuch", Role: Client, On26: Fatal})
	}
	for _, name := range []string{"ca", "cert", "key"} {
		examples = append(examples, Example{Line: "no " + name, On26: Fatal})
	}
	return append(examples,
		Example{Line: "no dev", Role: Server, On26: Fatal},
		Example{Line: "no remote", Role: Client, On26: Fatal},
		Example{Line: "up /bin/true", Role: Server, On26: Fatal},
		Example{Line: "cert [inline]", On26: Fatal},
		Example{Line: "<verb>", With: []string{"3", "</verb>"}, On26: Fatal},
		Example{Line: "<connection>", With: []string{"remote 127.0.0.1 1", "verb 3", "</connection>"}, Role: Client, On26: Fatal},
		Example{Line: "block-outside-dns", On26: Fatal},
		Example{Line: "setenv opt block-outside-dns", On26: Warns},
		Example{Line: "foo-bar", With: []string{"ignore-unknown-option foo-bar"}, On26: Fatal},
		Example{Line: "ignore-unknown-option foo-bar", With: []string{"foo-bar"}, On26: Warns},
		Example{Line: "data-ciphers " + strings.Join(strings.Fields(moreCiphers)[:6], ":"), On26: Works},
		Example{Line: "setenv opt foo-bar", On26: Warns},
		Example{Line: "setenv opt tls-crypt-v2-max-age 400", On26: Warns},
		Example{Line: "setenv opt comp-lzo", Role: Client, On26: Warns},
		Example{Line: "foo-bar", On26: Fatal})
}

// NewGroups is a line with which OpenVPN starts where its OpenSSL is 3.5 or later, whatever
// it is itself.
func NewGroups() string { return newGroupsLine }

// ValueExamples are lines whose arguments are at the ends of what OpenVPN takes, and
// beyond, each with what [Lint] says of it.
func ValueExamples() []Example {
	var examples []Example
	put := func(line string, with ...string) {
		if example, is := linted(line, with); is {
			examples = append(examples, example)
		}
	}
	beside := map[string][]string{ // what they are in conflict with, or need
		"ping": {"no keepalive"}, "ping-exit": {"no keepalive"}, "ping-restart": {"no keepalive"}, "lport": {"no port"},
		"management-log-cache": {"management management.sock unix"}, "vlan-pvid": {"vlan-tagging", "dev tap0", "dev-type tap", "dh none"},
	}
	for _, n := range numbers() {
		if nameIn(n.line) == "verb" || nameIn(n.line) == "bcast-buffers" {
			continue // they take the log away, and all of the memory
		}
		for _, text := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(n.on26.ends(), n.on27.ends())))) {
			put(strings.Replace(n.line, "#", text, 1), beside[nameIn(n.line)]...)
		}
	}
	for _, v := range values() {
		for _, text := range v.wrong {
			put(strings.Replace(strings.TrimSuffix(v.line, "..."), "#", text, 1), v.with...)
		}
	}
	const resolver = "dns server 1 address 10.0.0.2"
	taken, refused := dnsExamples()
	for _, line := range taken {
		put(line, resolver)
	}
	for _, line := range refused {
		put(line, resolver)
	}
	for _, p := range ports() {
		if p.refused == Fatal {
			put(strings.Replace(p.line, "#", "-1", 1), beside[nameIn(p.line)]...)
		}
	}
	for _, line := range []string{
		"max-routes-per-client 256", "server 10.8.0 255.255.255.0", "server 10.8.0.0 24", "tls-cipher SUITEB128", "tls-cipher !RC4", "tls-cipher TLS-ECDH-RSA-WITH-AES-128-GCM-SHA256", `tls-ciphersuites ""`,
		"verify-hash " + strings.Repeat("00:", 19) + "00 SHA256", "server 10.8.0.0 255.255.255.252", "server 10.8.0.0 255.255.255.248", "server 10.8.0.0 255.255.0.0", "server 10.8.0.0 255.254.0.0", "server 10.8.0.0 255.255.0.255", "server 10.8.0.5 255.255.255.0",
		"compat-mode 2.4.0-rc1", "compat-mode 2.4.x", "compat-mode 2.10.0", "compat-mode 1.9.9", "tls-groups " + strings.Join(strings.Fields(groups), ":"), "tls-groups PRIME256V2",
		"tls-ciphersuites NOSUCH:TLS_AES_256_GCM_SHA384:TLS-AES-128-CCM-SHA256", "tls-cipher NOSUCH:TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384", "tls-cipher DEFAULT:!EXP:!LOW", "tls-cipher DHE-RSA-AES256-SHA",
		"verify-hash " + strings.Repeat("00:", 19) + "00", "peer-fingerprint " + strings.Repeat("Ff:", 31) + "ff", "redirect-gateway def1 ipv6 !ipv4 bypass-dns block-local local autolocal bypass-dhcp",
		"server-ipv6 fd00::", "server-ipv6 fd00::5/124", "dhcp-option DOMAIN example.com", "route-gateway dhcp", "vlan-accept tagged", "auth-gen-token 3600 119 external-auth", "auth-gen-token 3600 120 external-auth",
	} {
		put(line)
	}
	return examples
}

// linted is a line with what lint says of it at the end that it is for. Some need what a
// test does not have.
func linted(line string, with []string) (Example, bool) {
	name, base := nameIn(line), "server 10.8.0.0 255.255.255.0\n"
	e := Example{Line: line, With: with, Role: Server}
	if isIn(inClients, name) || isIn(inEitherClient, name) || slices.Contains(strings.Fields("fragment link-mtu udp-mtu verify-hash peer-fingerprint"), name) {
		base, e.Role = "client\n", Client
	}
	if slices.Contains(with, "no server") || name == "server" || name == "server-bridge" {
		base = ""
	}
	text := line + "\n" + base
	for _, other := range with {
		if !strings.HasPrefix(other, "no ") {
			text += other + "\n"
		}
	}
	lines, err := Parse([]byte(text))
	if err != nil {
		return Example{}, false
	}
	found := Lint(lines)[0]
	e.On26, e.On27 = found.On26, found.On27
	return e, true
}

// Harmless are lines with which one configuration of an end starts, with nothing
// to be said of any.
func Harmless(role Role) []string {
	if role == Server {
		return slices.Concat(sampleLines(inBoth), sampleLines(inEitherServer))
	}
	return slices.Concat(sampleLines(inBoth), sampleLines(inEitherClient))
}

// WordExample is a line, and the words that OpenVPN takes it for, or that it does not
// start with it.
type WordExample struct {
	Line    string
	Words   []string
	Refused bool
}

// WordExamples are lines that are easily taken for others. Each begins with "echo msg",
// for which OpenVPN says the rest.
func WordExamples() []WordExample {
	var examples []WordExample
	for _, e := range []struct{ line, words string }{ // the words with commas
		{`a  b`, "a,b"}, {`a#b;c # d`, "a#b;c"}, {`a ;b`, "a"}, {`"#a" b`, "#a,b"}, {`\#a`, ""},
		{`"a b"c`, "a b,c"}, {`"a"#b`, "a"}, {`'a'"b"`, "a,b"}, {`a"b c"`, `a"b,c"`}, {`""a`, ",a"}, {`"a'b"`, "a'b"}, {`O'Brien`, "O'Brien"},
		{`'my key'\ 1`, "my key,1"}, {`my\ key`, "my key"}, {`\\ \"a "b\"c"`, `\,"a,b"c`}, {`'a\b"'`, `a\b"`}, {`\ a`, "a"},
		{"a\vb\fc\td\re", "a,b,c,d,e"}, {"a\u00a0b\u0085c", "a\u00a0b\u0085c"},
		{`1 2 3 4 5 6 7 8 9 10 11 12 13 14 "15`, "1,2,3,4,5,6,7,8,9,10,11,12,13,14"},
	} {
		example := WordExample{Line: "echo msg " + e.line, Words: []string{"echo", "msg"}}
		if e.words != "" {
			example.Words = append(example.Words, strings.Split(e.words, ",")...)
		}
		examples = append(examples, example)
	}
	for _, line := range []string{`"a`, `'a`, `a "b\"`, `C:\x`, `\'a'`, `"\'"`, `a\`, `\x`} {
		examples = append(examples, WordExample{Line: "echo msg " + line, Refused: true})
	}
	return examples
}

// CiphersAndDigests are those that OpenVPN lists.
func CiphersAndDigests() (cipherNames, digestNames []string) {
	return strings.Fields(ciphers), strings.Fields(digests)
}
