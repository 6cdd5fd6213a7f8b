// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// configuration is what there is to know of a whole one, of which each directive is a
// part.
type configuration struct {
	mode Role
	said map[string]string // by directive, what its last line says, which is what counts
	// By <connection>, of which 0 is none:
	named map[int]map[string]bool // the directives that are there
	over  map[int]map[string]bool // "udp" and "tcp", where those connections have it; in 0 are all
	of    map[int]int             // the number of a <connection>, by its line

	resolvers []int64 // the numbers of "dns server" that have an address
}

func configurationOf(lines []Line) configuration {
	c := configuration{mode: modeOf(lines), said: map[string]string{}, named: map[int]map[string]bool{}, over: map[int]map[string]bool{0: {}}, of: map[int]int{}}
	protocol := "udp"
	for _, l := range lines {
		c.said[l.Name] = strings.Join(l.Args, " ")
		if c.named[l.Connection] == nil {
			c.named[l.Connection] = map[string]bool{}
		}
		c.named[l.Connection][l.Name] = true
		if l.Name == "proto" && l.Connection == 0 {
			protocol = strings.Join(l.Args, " ")
		}
		if l.Name == "dns" && len(l.Args) > 3 && l.Args[2] == "address" {
			n, _ := entire(l.Args[1])
			c.resolvers = append(c.resolvers, n)
		}
		if l.holdsDirectives() {
			c.of[l.Number] = len(c.of) + 1
		}
	}
	family := func(protocol string) string {
		protocol = cmp.Or(protocol, "udp")
		return protocol[:min(len("tcp"), len(protocol))]
	}
	remotes := Remotes(lines)
	for _, r := range remotes {
		c.over[r.Connection] = map[string]bool{family(r.Protocol): true}
	}
	for _, r := range remotes {
		c.over[0][family(r.Protocol)] = true
	}
	if len(remotes) == 0 {
		c.over[0][family(protocol)] = true
	}
	return c
}

// has tells whether one of the directives is there.
func (c configuration) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, is := c.said[name]
		return is
	})
}

// conflict is a directive with which OpenVPN does not start for what else is there,
// or is not. Each is put to 2.6 in the tests; 2.7, which was not asked, is taken to do
// the same.
type conflict struct {
	names   string
	mode    Role // empty: either
	is      func(c configuration, l Line) bool
	why     string
	instead string
	// Lines to be put to OpenVPN: the conflict, and what it is with.
	example string
	with    []string
	asked   Role // the end that is asked; empty: mode's, or a client
}

func conflicts() []conflict {
	with := func(names ...string) func(configuration, Line) bool {
		return func(c configuration, _ Line) bool { return c.has(names...) }
	}
	beside := func(names ...string) func(configuration, Line) bool {
		return func(c configuration, l Line) bool {
			return slices.ContainsFunc(names, func(name string) bool { return c.named[l.Connection][name] })
		}
	}
	without := func(names ...string) func(configuration, Line) bool {
		return func(c configuration, _ Line) bool { return !c.has(names...) }
	}
	over := func(protocol string) func(configuration, Line) bool {
		return func(c configuration, l Line) bool { return c.over[l.Connection][protocol] }
	}
	routed := func(c configuration, _ Line) bool {
		return !strings.HasPrefix(cmp.Or(c.said["dev-type"], c.said["dev"]), "tap")
	}
	return []conflict{
		{names: "tls-auth", is: beside("tls-crypt"), why: "OpenVPN takes one of tls-auth and tls-crypt", instead: nothing, example: "tls-auth empty", with: []string{"tls-crypt empty"}},
		{names: "tls-auth tls-crypt", mode: Client, is: func(c configuration, l Line) bool {
			return !c.has("tls-server") && c.named[l.Connection]["tls-crypt-v2"]
		},
			why: "a client takes one of it and tls-crypt-v2", instead: nothing, example: "tls-crypt empty", with: []string{"tls-crypt-v2 empty"}},
		{names: "http-proxy", mode: Client, is: over("udp"), why: "a proxy of HTTP carries TCP only", instead: "proto tcp4-client beside it, or " + nothing, example: "http-proxy 127.0.0.1 8080"},
		{names: "http-proxy-option http-proxy-user-pass", mode: Client, is: over("udp"), why: "a proxy of HTTP carries TCP only", instead: "proto tcp4-client beside it, or " + nothing, example: "http-proxy-option AGENT x"},
		{names: "http-proxy", mode: Client, is: beside("socks-proxy"), why: "OpenVPN takes one proxy", instead: nothing, example: "http-proxy 127.0.0.1 8080", with: []string{"socks-proxy 127.0.0.1 1080", "proto tcp-client"}},
		{names: "port-share", mode: Server, is: over("udp"), why: "it shares a port of TCP", instead: "proto tcp4-server beside it, or " + nothing, example: "port-share 127.0.0.1 443"},
		{names: "connect-freq", mode: Server, is: over("tcp"), why: "it is for UDP", instead: nothing, example: "connect-freq 10 60", with: []string{"proto tcp4-server"}},
		{names: "fragment", is: over("tcp"), why: "it is for UDP", instead: nothing, example: "fragment 1300", with: []string{"proto tcp4-client"}},
		{names: "bind local lport", mode: Client, is: beside("nobind"), why: "it binds, and nobind does not", instead: nothing, example: "lport 1194", with: []string{"nobind"}},
		{names: "capath cert key", is: with("pkcs12"), why: "it is in what pkcs12 names", instead: nothing, example: "pkcs12 empty", with: []string{"no ca", "no key", "cert empty"}},
		{names: "secret", is: with("client", "tls-client", "tls-server", "server", "server-bridge"), why: "one key for all does not go with certificates", instead: nothing, example: "secret empty"},
		{names: "connection", is: func(c configuration, l Line) bool {
			return l.holdsDirectives() && !c.named[c.of[l.Number]]["remote"]
		}, why: "there is no \"remote\" in it", instead: "remote HOST PORT in it", example: "<connection>", with: []string{"port 1194", "</connection>"}},
		{names: "connection", mode: Server, is: func(_ configuration, l Line) bool { return l.holdsDirectives() }, why: "it is for a client", instead: nothing, example: "<connection>", with: []string{"remote 127.0.0.1 1195", "</connection>"}},
		{names: "tls-server", is: with("client", "tls-client"), why: "it is one end or the other", instead: nothing, example: "tls-server", with: []string{"dh none"}},
		{names: "verify-client-cert", mode: Client, is: func(_ configuration, l Line) bool { return len(l.Args) == 0 || l.Args[0] != "require" }, why: "it is for a server", instead: nothing, example: "verify-client-cert optional"},
		{names: "link-mtu", is: with("tun-mtu"), why: "OpenVPN takes one of link-mtu and tun-mtu", instead: nothing, example: "link-mtu 1400", with: []string{"tun-mtu 1400"}},
		{names: "pkcs11-providers management-external-key", is: with("key", "pkcs12"), why: "the key is there already", instead: nothing, example: "pkcs11-providers empty", with: []string{"pkcs11-id x"}},
		{names: "management-external-cert", is: with("cert", "pkcs12"), why: "the certificate is there already", instead: nothing, example: "management-external-cert x", with: []string{"management socket unix"}},
		{names: "vlan-tagging", mode: Server, is: routed, why: "it is for \"dev tap\"", instead: nothing, example: "vlan-tagging"},
		{names: "lladdr", is: routed, why: "it is for \"dev tap\"", instead: nothing, example: "lladdr 00:11:22:33:44:55"},
		{names: "keepalive", is: func(_ configuration, l Line) bool {
			if len(l.Args) != 2 {
				return false
			}
			ask, err := strconv.Atoi(l.Args[0])
			end, failed := strconv.Atoi(l.Args[1])
			return err == nil && failed == nil && end < 2*ask
		}, why: "the second number is at least twice the first", instead: "keepalive 10 60", example: "keepalive 10 15"},
		{names: "management-client-auth management-client management-forget-disconnect management-hold management-log-cache management-query-passwords management-query-proxy management-query-remote management-signal management-up-down management-client-user management-client-group",
			is: without("management"), why: "there is no \"management\"", instead: nothing + ", or management SOCKET unix beside it", example: "management-hold"},
		{names: "replay-window", is: func(c configuration, l Line) bool {
			return c.has("no-replay") && !slices.Contains([]string{"", "64", "64 15"}, strings.Join(l.Args, " ")) // which it is anyway
		}, why: "no-replay leaves nothing for it to do", instead: "it, and no no-replay", example: "replay-window 128 15", with: []string{"no-replay"}},
		{names: "tls-version-max", is: func(c configuration, _ Line) bool {
			least, _, _ := strings.Cut(c.said["tls-version-min"], " ")
			return c.said["tls-version-max"] < least
		}, why: "it is below tls-version-min", instead: nothing, example: "tls-version-max 1.2", with: []string{"tls-version-min 1.3"}},
		{names: "keepalive", is: with("ping", "ping-exit", "ping-restart"), why: "it stands for ping and ping-restart", instead: "it alone", example: "keepalive 10 60", with: []string{"ping 10"}},
		{names: "username-as-common-name auth-user-pass-optional", mode: Server, is: without("auth-user-pass-verify", "plugin", "management-client-auth"),
			why: "nothing is there that asks for a password", instead: nothing, example: "username-as-common-name"},
		{names: "verify-client-cert", mode: Server, is: func(c configuration, l Line) bool {
			return len(l.Args) > 0 && l.Args[0] != "require" && !c.has("auth-user-pass-verify", "plugin", "management-client-auth")
		}, why: "nothing is there that asks for a password, and people come in without a certificate", instead: "verify-client-cert require", example: "verify-client-cert none"},
		{names: "ifconfig-pool server-bridge", mode: Server, is: with("server"), why: "\"server\" is there, which makes a pool of its own", instead: nothing, example: "ifconfig-pool 10.8.0.4 10.8.0.9"},
		{names: "dev", is: func(c configuration, l Line) bool {
			return len(l.Args) > 0 && !c.has("dev-type") && !slices.ContainsFunc([]string{"tun", "tap", "null"}, func(kind string) bool { return strings.HasPrefix(l.Args[0], kind) })
		}, why: "its name does not tell what kind of interface it is", instead: "dev-type tun beside it", example: "dev vpn0", with: []string{"no dev-type"}, asked: Server},
		{names: "proto", mode: Server, is: func(_ configuration, l Line) bool { return len(l.Args) > 0 && strings.HasSuffix(l.Args[0], "-client") }, why: "it is for a client", instead: "tcp4-server", example: "proto tcp4-client"},
		{names: "http-proxy", is: func(_ configuration, l Line) bool { return len(l.Args) == 1 }, why: "its port is not said", instead: "http-proxy HOST PORT", example: "http-proxy 127.0.0.1", with: []string{"proto tcp4-client"}},
		{names: "http-proxy-option", is: without("http-proxy"), why: "there is no http-proxy", instead: nothing, example: "http-proxy-option AGENT x", with: []string{"proto tcp4-client"}},
		{names: "verify-hash", is: func(_ configuration, l Line) bool {
			long := len(l.Args) > 1 && l.Args[1] == "SHA256"
			return len(l.Args) > 0 && (isFingerprint(20)(l.Args[0]) && long || isFingerprint(32)(l.Args[0]) && !long)
		}, why: "20 bytes are a SHA-1, and 32 a SHA-256, which is to be said", instead: "verify-hash FINGERPRINT SHA256", example: "verify-hash " + strings.Repeat("00:", 31) + "00"},
		{names: "ifconfig-ipv6-pool", mode: Server, is: without("ifconfig-ipv6", "server-ipv6"), why: "there is no ifconfig-ipv6", instead: "server-ipv6 NETWORK, alone", example: "ifconfig-ipv6-pool fd00::10/64"},
		{names: "setenv", is: func(_ configuration, l Line) bool { return len(l.Args) > 0 && l.Args[0] == "GENERIC_CONFIG" }, why: "it says that the profile is for another program", instead: nothing, example: "setenv GENERIC_CONFIG 1"},
		{names: "server", is: func(_ configuration, l Line) bool { return !servesNetwork(l.Args) },
			why: "they are no network that a server has: of 16 to 29 bits, and nothing of the address behind them", instead: "server 10.8.0.0 255.255.255.0", example: "server 10.8.0.5 255.255.255.0"},
		{names: "server-bridge", mode: Server, is: func(_ configuration, l Line) bool { return len(l.Args) > 0 && !servesBridge(l.Args) },
			why: "the address and those of clients, the first before the last, are not in one network", instead: "server-bridge 10.8.0.4 255.255.255.0 10.8.0.128 10.8.0.254",
			example: "server-bridge 10.8.0.4 255.255.255.0 10.9.0.128 10.9.0.254", with: []string{"dev tap0", "dev-type tap", "dh none"}},
		{names: "ifconfig-pool", mode: Server, is: func(_ configuration, l Line) bool { return !isPool(l.Args) },
			why: "the first address stands before the last, and 65536 are the most", instead: "ifconfig-pool FIRST LAST", example: "ifconfig-pool 10.8.0.9 10.8.0.4", with: []string{"no server", "mode server", "tls-server"}},
		{names: "auth-user-pass-verify", is: func(_ configuration, l Line) bool { return len(l.Args) == 1 },
			why: "how it is given the password is not said", instead: "via-file behind it", example: "auth-user-pass-verify /bin/true"},
		{names: "auth-gen-token", mode: Server, is: func(c configuration, l Line) bool {
			again, failed := 0, error(nil)
			if len(l.Args) > 1 {
				again, failed = strconv.Atoi(l.Args[1])
			}
			window, err := strconv.Atoi(cmp.Or(c.said["hand-window"], "60"))
			return failed == nil && err == nil && again > 0 && again < 2*window
		}, why: "the second number is at least twice hand-window's, which is 60 where nothing else is said", instead: "auth-gen-token 28800 3600 external-auth", example: "auth-gen-token 3600 100"},
		{names: "ifconfig", is: func(_ configuration, l Line) bool { return len(l.Args) == 2 && l.Args[0] == l.Args[1] },
			why: "both ends would have one address", instead: "two addresses, or an address and a netmask", example: "ifconfig 10.8.0.2 10.8.0.2"},
		{names: "vlan-accept vlan-pvid", mode: Server, is: func(c configuration, l Line) bool {
			return !c.has("vlan-tagging") && !slices.Contains([]string{"all", "1"}, strings.Join(l.Args, " ")) // which it is anyway
		}, why: "there is no vlan-tagging", instead: "vlan-tagging beside it, or " + nothing, example: "vlan-pvid 2"},
		{names: "dns", is: func(c configuration, l Line) bool {
			if len(l.Args) < 3 || l.Args[0] != "server" {
				return false
			}
			n, is := entire(l.Args[1])
			return is && !slices.Contains(c.resolvers, n)
		}, why: "that server has no address", instead: "dns server N address ADDRESS beside it", example: "dns server 1 sni dns.example.com"},
		{names: "ccd-exclusive", mode: Server, is: without("client-config-dir"), why: "there is no client-config-dir", instead: "client-config-dir FOLDER beside it, or " + nothing, example: "ccd-exclusive"},
	}
}

// with finds what a directive is in conflict with.
func (c configuration) with(l Line, rules []conflict) (Finding, bool) {
	for _, rule := range rules {
		if (rule.mode == "" || rule.mode == c.mode) && slices.Contains(strings.Fields(rule.names), l.Name) && rule.is(c, l) {
			return Finding{On26: Fatal, On27: Fatal, Why: rule.why, Instead: rule.instead}, true
		}
	}
	return Finding{}, false
}
