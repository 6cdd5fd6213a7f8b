// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
)

// choice is what the argument of a directive can be, where it is one of few words. That
// others are refused is put to 2.6 in the tests; 2.7, which was not asked, is taken to
// do the same.
type choice struct {
	name  string
	at    int // which argument, from 0 on
	words string
}

const protocols = "udp udp4 udp6 tcp tcp4 tcp6 tcp-server tcp4-server tcp6-server tcp-client tcp4-client tcp6-client"

func choices() []choice {
	return []choice{
		{"allow-compression", 0, "asym no yes"},
		{"auth-user-pass-verify", 1, "via-env via-file"},
		{"auth-retry", 0, "interact nointeract none"},
		{"client-nat", 0, "dnat snat"},
		{"comp-lzo", 0, "adaptive no yes"},
		{"compress", 0, "lz4 lz4-v2 lzo migrate stub stub-v2"},
		{"crl-verify", 1, "dir"},
		{"http-proxy-option", 0, "AGENT CUSTOM-HEADER VERSION"},
		{"key-derivation", 0, "tls-ekm"},
		{"key-direction", 0, "0 1"},
		{"mode", 0, "p2p server"},
		{"mssfix", 1, "fixed mtu"},
		{"mtu-disc", 0, "maybe no yes"},
		{"ns-cert-type", 0, "client server"},
		{"proto", 0, protocols},
		{"proto-force", 0, "tcp udp"},
		{"pull-filter", 0, "accept ignore reject"},
		{"remap-usr1", 0, "SIGHUP SIGTERM"},
		{"remote", 2, protocols},
		{"remote-cert-tls", 0, "client server"},
		{"server", 2, "nopool"},
		{"tls-cert-profile", 0, "insecure legacy preferred suiteb"},
		{"tls-crypt-v2", 1, "allow-noncookie force-cookie"},
		{"tls-version-max", 0, "1.0 1.1 1.2 1.3"},
		{"tls-version-min", 0, "1.0 1.1 1.2 1.3"},
		{"topology", 0, "net30 p2p subnet"},
		{"verify-client-cert", 0, "none optional require"},
		{"vlan-accept", 0, "all tagged untagged"},
		{"verify-hash", 1, "SHA1 SHA256"},
		{"verify-x509-name", 1, "name name-prefix subject"},
	}
}

// mistaken finds an argument that is none of what it can be.
func mistaken(l Line, choices []choice) (Finding, bool) {
	for _, c := range choices {
		if l.Name != c.name || len(l.Args) <= c.at || slices.Contains(strings.Fields(c.words), l.Args[c.at]) {
			continue
		}
		if c.name == "tls-version-min" && len(l.Args) > 1 && l.Args[1] == "or-highest" {
			continue // the highest it is, then
		}
		return Finding{On26: Fatal, On27: Fatal, Why: "OpenVPN does not know the word there", Instead: "one of " + strings.Join(strings.Fields(c.words), ", ")}, true
	}
	return Finding{}, false
}
