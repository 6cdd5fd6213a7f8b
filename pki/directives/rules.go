// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
)

// rule is what there is to say of a directive. What it says of 2.6 is put to
// OpenVPN itself in the tests; of 2.7 it was found with 2.7.0.
type rule struct {
	name    string
	role    Role                     // empty: either
	when    func(args []string) bool // nil: always
	on26    Effect
	on27    Effect
	why     string
	instead string
	example string // a line that the rule is about; empty: its name
}

const (
	nothing = "nothing: leave it out"
	// newGroupsLine is what the OpenSSL decides of, and not the OpenVPN.
	newGroupsLine = "tls-groups X25519MLKEM768:X25519:prime256v1"
	ofToday       = "data-ciphers AES-256-GCM:CHACHA20-POLY1305:AES-128-GCM"
)

func rules() []rule {
	first := func(values ...string) func([]string) bool {
		return func(args []string) bool { return len(args) > 0 && slices.Contains(values, args[0]) }
	}
	not := func(inner func([]string) bool) func([]string) bool {
		return func(args []string) bool { return !inner(args) }
	}
	contains := func(parts ...string) func([]string) bool {
		return func(args []string) bool {
			return len(args) > 0 && slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(strings.ToLower(args[0]), p) })
		}
	}
	anyOf := func(ciphers ...string) func([]string) bool { // of a list with colons
		return func(args []string) bool {
			return len(args) > 0 && slices.ContainsFunc(strings.Split(strings.ToLower(args[0]), ":"), func(cipher string) bool {
				return slices.ContainsFunc(ciphers, func(weak string) bool { return strings.HasPrefix(strings.TrimPrefix(cipher, "?"), weak) })
			})
		}
	}
	unknownTo := func(lists ...string) func([]string) bool {
		return func(args []string) bool { return len(args) > 0 && !isOf(args[0], lists...) }
	}
	refused := func(args []string) bool {
		takes, _ := knownCiphers(args[0])
		return !takes
	}
	passes := func(args []string) bool {
		takes, all := knownCiphers(args[0])
		return takes && !all
	}
	second := func(value string) func([]string) bool {
		return func(args []string) bool { return len(args) > 1 && slices.Contains(args[1:], value) }
	}
	isUnix := second("unix")
	elsewhere := func(args []string) bool {
		return len(args) > 1 && !isUnix(args) && args[0] != "localhost" && args[0] != "::1" && !strings.HasPrefix(args[0], "127.")
	}
	return []rule{
		{name: "comp-lzo", role: Server, on26: Warns, on27: Warns, why: "compression leaks what is sent (VORACLE), and keeps the kernel's data channel off", instead: `"compress migrate" while old profiles live, then nothing`},
		{name: "comp-lzo", role: Client, on26: Warns, on27: Warns, why: "compression leaks what is sent (VORACLE), and keeps the kernel's data channel off", instead: nothing + " (the server can live with old profiles by \"compress migrate\")"},
		{name: "compress", when: first("migrate"), on26: Works, on27: Works, why: "for as long as old profiles with comp-lzo live"},
		{name: "compress", on26: Warns, on27: Warns, why: "compression leaks what is sent (VORACLE); 2.7 sends nothing compressed", instead: nothing, example: "compress lz4-v2"},
		{name: "ns-cert-type", on26: Warns, on27: Warns, why: "OpenVPN asks OpenSSL what the certificate may be used for, and one that does not say may be used at both ends: with such a one a client can pose as the server", instead: "remote-cert-tls server (in a server: client), and certificates with an extended key usage", example: "ns-cert-type server"},
		{name: "tls-remote", on26: removed, on27: removed, why: "removed in 2.4", instead: "verify-x509-name NAME name", example: "tls-remote server"},
		{name: "dh", role: Server, when: first("none"), on26: Works, on27: Works},
		{name: "dh", role: Server, when: contains("1024", "512"), on26: Fatal, on27: Fatal, why: "OpenSSL 3 refuses the parameters as too small", instead: "dh none"},
		{name: "dh", role: Client, on26: Warns, on27: Warns, why: "it is for a server", instead: nothing, example: "dh none"},
		{name: "dh", role: Server, on26: Works, on27: Works, why: "parameters of 1024 bits or fewer are fatal, and finite-field DH is on its way out", instead: "dh none"},
		{name: "cipher", when: unknownTo(ciphers, moreCiphers, "none BF-CBC"), on26: Fatal, on27: Fatal, why: "OpenSSL 3 does not have it", instead: ofToday, example: "cipher NOSUCH"},
		{name: "cipher", when: first("none", "NONE"), on26: Warns, on27: Warns, why: "what is sent goes in the clear where the ends do not negotiate", instead: ofToday, example: "cipher none"},
		{name: "cipher", when: contains("gcm", "chacha20"), on26: Works, on27: Works, why: "it counts only as a hint for peers before 2.4", instead: ofToday, example: "cipher AES-256-GCM"},
		{name: "cipher", on26: Warns, on27: Ignored, why: "the ends negotiate by data-ciphers; BF-CBC and its like do not work with OpenSSL 3", instead: ofToday, example: "cipher BF-CBC"},
		{name: "keysize", on26: removed, on27: removed, why: "removed in 2.6", instead: nothing, example: "keysize 128"},
		{name: "ncp-ciphers", when: refused, on26: Fatal, on27: Fatal, why: "OpenSSL 3 does not have all of it", instead: ofToday, example: "ncp-ciphers BF-CBC"},
		{name: "ncp-ciphers", on26: Warns, on27: Warns, why: "another name of data-ciphers", instead: "data-ciphers", example: "ncp-ciphers AES-256-GCM"},
		{name: "ncp-disable", on26: removed, on27: removed, why: "removed in 2.6", instead: nothing},
		{name: "key-method", on26: removed, on27: removed, why: "removed in 2.5", instead: nothing, example: "key-method 2"},
		{name: "no-iv", on26: removed, on27: removed, why: "removed in 2.5", instead: nothing},
		{name: "no-replay", on26: Warns, on27: Fatal, why: "it takes away the protection from replayed packets", instead: nothing},
		{name: "ifconfig-pool-linear", on26: removed, on27: removed, why: "removed in 2.5", instead: "topology subnet"},
		{name: "client-cert-not-required", on26: Fatal, on27: Fatal, why: "removed in 2.5; it let people in without a certificate", instead: "verify-client-cert require"},
		{name: "verify-client-cert", role: Server, when: not(first("require")), on26: Works, on27: Works, why: "people come in without a certificate", instead: "verify-client-cert require"},
		{name: "secret", on26: Warns, on27: Fatal, why: "one key for all and for ever; 2.7 wants --allow-deprecated-insecure-static-crypto, 2.8 has none", instead: "certificates, or peer-fingerprint"},
		{name: "tls-auth", on26: Works, on27: Works, why: "one key for everybody, in every profile", instead: "tls-crypt-v2, a key for each client (a server may have both while profiles change)"},
		{name: "tls-crypt", on26: Works, on27: Works, why: "one key for everybody, in every profile", instead: "tls-crypt-v2, a key for each client"},
		{name: "ecdh-curve", on26: Ignored, on27: Ignored, why: "OpenSSL 3 chooses by itself", instead: nothing, example: "ecdh-curve prime256v1"},
		{name: "tls-groups", when: func(args []string) bool { return !knownGroups(args[0]) && knownNewGroups(args[0]) }, on26: Fatal, on27: Works, why: "it takes OpenSSL 3.5, as Ubuntu 26.04 and Debian 13 have: with an older one, as in Ubuntu 24.04 and Debian 12, no OpenVPN starts; 2.7 has the post-quantum exchange by default", instead: nothing, example: newGroupsLine},
		{name: "tls-groups", when: func(args []string) bool { return !knownGroups(args[0]) }, on26: Fatal, on27: Fatal, why: "OpenSSL does not have all of it, and OpenVPN does not start then", instead: nothing, example: "tls-groups X25519:NOSUCH"},
		{name: "tls-groups", on26: Works, on27: Works, why: "it switches off the post-quantum exchange that 2.7 has by default", instead: nothing, example: "tls-groups X25519:prime256v1"},
		{name: "tls-cipher", on26: Works, on27: Works, why: "OpenVPN's and OpenSSL's own choice is stronger than most lists", instead: "tls-version-min 1.2 and tls-cert-profile preferred", example: "tls-cipher TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"},
		{name: "auth", when: unknownTo(digests, moreDigests, "none"), on26: Fatal, on27: Fatal, why: "OpenSSL 3 does not have it", instead: nothing, example: "auth NOSUCH"},
		{name: "auth", when: first("none", "NONE"), on26: Works, on27: Works, why: "packets can be forged where the cipher is not of today (AEAD)", instead: nothing, example: "auth none"},
		{name: "auth", on26: Works, on27: Works, why: "the ciphers of today (AEAD) do not use it", instead: nothing, example: "auth SHA256"},
		{name: "persist-key", role: Client, on26: Works, on27: Warns, why: "2.6 needs it with \"user\", to connect again with a key that root alone reads; 2.7 always does so"},
		{name: "persist-key", role: Server, on26: Works, on27: Warns, why: "2.6 needs it with \"user\" and tls-crypt-v2, or any client ends the daemon; 2.7 always does so"},
		{name: "remote-cert-tls", role: Client, when: first("client"), on26: Works, on27: Works, why: "it refuses every gateway, and takes another client for one", instead: "remote-cert-tls server", example: "remote-cert-tls client"},
		{name: "remote-cert-tls", role: Server, when: first("server"), on26: Works, on27: Works, why: "it refuses every client, and takes the server's own certificate for one", instead: "remote-cert-tls client", example: "remote-cert-tls server"},
		{name: "opt-verify", role: Server, on26: Warns, on27: Ignored, instead: nothing, why: "removed"},
		{name: "opt-verify", role: Client, on26: Fatal, on27: Ignored, instead: nothing, why: "it is for a server, and removed in 2.7"},
		{name: "prng", on26: Warns, on27: Ignored, instead: nothing, why: "OpenSSL's own is used", example: "prng sha256 16"},
		{name: "tun-ipv6", on26: Ignored, on27: Ignored, instead: nothing, why: "it is always on"},
		{name: "fast-io", on26: Works, on27: Ignored, instead: nothing, why: "of no use since 2.7"},
		{name: "memstats", on26: Works, on27: removed, instead: nothing, why: "removed in 2.7", example: "memstats stats"},
		{name: "inetd", on26: removed, on27: removed, why: "removed in 2.6", instead: "a unit of systemd"},
		{name: "management-client-pf", on26: removed, on27: removed, why: "the packet filter was removed in 2.6", instead: "iptables or nftables"},
		{name: "data-ciphers", when: refused, on26: Fatal, on27: Fatal, why: "OpenSSL 3 does not have all of it", instead: ofToday, example: "data-ciphers AES-256-GCM:NOSUCH"},
		{name: "data-ciphers", when: passes, on26: Warns, on27: Warns, why: "OpenSSL 3 does not have all of it, and OpenVPN passes over that", instead: ofToday, example: "data-ciphers AES-256-GCM:?BF-CBC"},
		{name: "data-ciphers", when: anyOf("none"), on26: Warns, on27: Warns, why: "\"none\" sends in the clear to whoever offers nothing else", instead: ofToday, example: "data-ciphers AES-256-GCM:none"},
		{name: "data-ciphers-fallback", when: unknownTo(ciphers, moreCiphers, "none"), on26: Fatal, on27: Fatal, why: "OpenSSL 3 does not have it", instead: nothing, example: "data-ciphers-fallback BF-CBC"},
		{name: "data-ciphers-fallback", when: anyOf("none"), on26: Warns, on27: Warns, why: "a peer that does not negotiate is sent everything in the clear", instead: nothing, example: "data-ciphers-fallback none"},
		{name: "allow-compression", when: not(first("no")), on26: Warns, on27: Warns, why: "compression leaks what is sent (VORACLE)", instead: nothing, example: "allow-compression yes"},
		{name: "comp-noadapt", on26: Works, on27: Works, why: "it is about comp-lzo", instead: nothing},
		{name: "http-proxy-retry", on26: Warns, on27: Ignored, instead: nothing, why: "of no use since 2.4"},
		{name: "socks-proxy-retry", on26: Warns, on27: Ignored, instead: nothing, why: "of no use since 2.4"},
		{name: "http-proxy-timeout", on26: Warns, on27: Ignored, instead: "connect-timeout SECONDS", why: "of no use since 2.4", example: "http-proxy-timeout 5"},
		{name: "max-routes", on26: Warns, on27: Ignored, instead: nothing, why: "there is no limit since 2.4", example: "max-routes 100"},
		{name: "management", when: func(args []string) bool { return elsewhere(args) && len(args) == 2 }, on26: Warns, on27: Warns, why: "whoever reaches that port takes the daemon over: it lets people in, sends them away, and ends", instead: "management /run/openvpn-server/NAME.sock unix", example: "management 0.0.0.0 7505"},
		{name: "management", when: elsewhere, on26: Works, on27: Works, why: "the password of whoever may take the daemon over goes over the network in the clear", instead: "management /run/openvpn-server/NAME.sock unix"},
		{name: "management", when: func(args []string) bool { return !isUnix(args) && len(args) == 2 }, on26: Warns, on27: Warns, why: "every program and person on the machine can take the daemon over", instead: "management /run/openvpn-server/NAME.sock unix", example: "management 127.0.0.1 7505"},
		{name: "auth-user-pass-optional", role: Server, on26: Works, on27: Works, why: "whoever gives no password is let in by the certificate alone, unless what decides refuses it", instead: nothing + ", unless a management client decides of everybody"},
		{name: "username-as-common-name", role: Server, on26: Works, on27: Works, why: "the name is then what the person types, not what the certificate says: one can pass for another", instead: nothing},
		{name: "auth-gen-token", role: Server, when: not(second("external-auth")), on26: Works, on27: Works, why: "whoever comes back with a token is let in without being asked about again, revoked or not", instead: "auth-gen-token LIFETIME external-auth", example: "auth-gen-token 3600"},
		{name: "tls-cert-profile", when: first("insecure", "legacy"), on26: Works, on27: Works, why: "certificates signed with what is broken (MD5, SHA-1, keys of 1024 bits) are taken", instead: "tls-cert-profile preferred", example: "tls-cert-profile insecure"},
		{name: "compat-mode", when: func(args []string) bool { return !isVersion(args[0]) }, on26: Fatal, on27: Fatal, why: "it is no version of three numbers", instead: nothing, example: "compat-mode 2.5"},
		{name: "compat-mode", when: func(args []string) bool { return versionBefore(args[0], 2, 4) }, on26: Fatal, on27: Fatal, why: "it brings back the defaults of that version, and OpenSSL 3 does not have BF-CBC, which is among them", instead: nothing, example: "compat-mode 2.3.0"},
		{name: "protocol-flags", when: func(args []string) bool { return slices.Contains(args, "aead-epoch") }, on26: Fatal, on27: Works, why: "aead-epoch is new in 2.7", instead: nothing + ": the ends agree on it by themselves", example: "protocol-flags aead-epoch"},
		{name: "push", when: contains("comp-lzo", "compress "), on26: Works, on27: Works, why: "it switches compression on in clients, which leaks what is sent (VORACLE)", instead: nothing, example: "push \"comp-lzo yes\""},
		{name: "push", role: Client, on26: Works, on27: Warns, why: "it is for a server", instead: nothing, example: "push \"route 10.0.0.0 255.255.0.0\""},
		{name: "duplicate-cn", role: Server, on26: Works, on27: Works, why: "one certificate for several people: nobody can be told from another, or revoked alone", instead: "a certificate for each person and device"},
		{name: "client-to-client", role: Server, on26: Works, on27: Works, why: "packets between clients pass by the firewall", instead: "rules in the FORWARD chain"},
		{name: "topology", role: Server, when: not(first("subnet")), on26: Warns, on27: Warns, why: "it takes four addresses for each client and keeps the kernel's data channel off", instead: "topology subnet", example: "topology net30"},
		{name: "proto", when: first("udp", "tcp", "tcp-server", "tcp-client"), on26: Works, on27: Works, why: "it may bind both families", instead: "the family with it: udp4, tcp4-server, tcp4-client", example: "proto udp"},
		{name: "reneg-sec", when: first("0"), on26: Works, on27: Works, why: "a session then has the same keys for ever, and a revoked certificate stays connected", instead: "nothing: 3600 is the default", example: "reneg-sec 0"},
		{name: "tls-version-min", when: first("1.0", "1.1"), on26: Works, on27: Works, why: "TLS before 1.2 is broken", instead: "tls-version-min 1.2", example: "tls-version-min 1.0"},
		{name: "tls-version-max", when: first("1.0", "1.1"), on26: Works, on27: Works, why: "TLS before 1.2 is broken, and fatal beside a tls-version-min above it", instead: nothing, example: "tls-version-max 1.1"},
		{name: "tls-version-max", when: first("1.2"), on26: Works, on27: Works, why: "it keeps off TLS 1.3, and with it the post-quantum exchange of 2.7", instead: nothing, example: "tls-version-max 1.2"},
		{name: "pull-filter", role: Server, on26: Ignored, on27: Ignored, why: "it is for a client", instead: nothing, example: "pull-filter ignore route"},
		{name: "setenv", when: func(args []string) bool { return len(args) == 1 && args[0] == "opt" }, on26: Warns, on27: Warns, why: "there is no directive behind it", instead: nothing, example: "setenv opt"},
		{name: "script-security", when: first("3"), on26: Works, on27: Works, why: "passwords reach scripts by their environment", instead: "script-security 2", example: "script-security 3"},
		{name: "crl-verify", role: Server, when: func(args []string) bool { return len(args) == 1 }, on26: Works, on27: Works, why: "once the list is past its date, nobody gets in", instead: "crl-verify FOLDER dir, with a file for each revoked serial, as vpnami's gateway has it"},
	}
}

// absence is what is wrong with a configuration that lacks a directive.
type absence struct {
	Finding
	role Role // empty: either
	met  func(lines []Line) bool
}

func missing() []absence {
	hasOne := func(names ...string) func([]Line) bool {
		return func(lines []Line) bool {
			return slices.ContainsFunc(names, func(name string) bool { return has(lines, name) })
		}
	}
	// What a file that is named by "config" has in it is not known.
	unless := func(names ...string) func([]Line) bool { return hasOne(append(names, "config")...) }
	return []absence{
		{Finding{Directive: "dev", On26: Fatal, On27: Fatal, Why: "OpenVPN is to know what kind of interface it makes", Instead: "dev tun"}, "", unless("dev")},
		{Finding{Directive: "ca", On26: Fatal, On27: Fatal, Why: "nothing tells whose certificates are good", Instead: "ca FILE"}, "", unless("ca", "capath", "pkcs12", "peer-fingerprint", "secret")},
		{Finding{Directive: "cert", On26: Fatal, On27: Fatal, Why: "key and certificate go together", Instead: "cert FILE"}, "", func(lines []Line) bool {
			return unless("cert", "pkcs12", "pkcs11-id", "pkcs11-id-management", "cryptoapicert", "management-external-cert", "secret")(lines) || has(lines, "auth-user-pass") && !has(lines, "key")
		}},
		{Finding{Directive: "key", On26: Fatal, On27: Fatal, Why: "key and certificate go together", Instead: "key FILE"}, "", func(lines []Line) bool {
			return unless("key", "pkcs12", "pkcs11-id", "pkcs11-id-management", "cryptoapicert", "management-external-key", "secret")(lines) || has(lines, "auth-user-pass") && !has(lines, "cert")
		}},
		{Finding{Directive: "remote", On26: Fatal, On27: Fatal, Why: "a client is to know where its server is", Instead: "remote HOST PORT"}, Client, func(lines []Line) bool {
			return unless("remote")(lines) || !has(lines, "client") && !has(lines, "pull")
		}},
		{Finding{Directive: "script-security", On26: Fatal, On27: Fatal, Why: "OpenVPN runs no script without it, and ends where that is \"up\"", Instead: "script-security 2"}, "", func(lines []Line) bool {
			return !has(lines, "up") || mayRun(lines)
		}},
		{Finding{Directive: "script-security", On26: Works, On27: Works, Why: "OpenVPN runs no script without it, and lets nobody in where a script is to decide", Instead: "script-security 2"}, "", func(lines []Line) bool {
			return has(lines, "up") || !hasOne(strings.Fields(scripts)...)(lines) || mayRun(lines)
		}},
		{Finding{Directive: "dh", On26: Fatal, On27: Works, Instead: "dh none"}, Server, hasOne("dh", "secret")},
		{Finding{Directive: "topology", On26: Works, On27: Works, Why: "it is net30 in 2.6 and subnet in 2.7: addresses change with the update", Instead: "topology subnet"}, Server, hasOne("topology", "secret", "server-bridge")},
		{Finding{Directive: "crl-verify", On26: Works, On27: Works, Why: "nobody can be revoked", Instead: "crl-verify FOLDER dir"}, Server, hasOne("crl-verify", "secret")},
		{Finding{Directive: "remote-cert-tls", On26: Works, On27: Works, Why: "the server's own certificate could log in as a client", Instead: "remote-cert-tls client"}, Server, hasOne("remote-cert-tls", "remote-cert-eku", "secret")},
		{Finding{Directive: "tls-crypt-v2", On26: Works, On27: Works, Why: "anybody's packets reach TLS, and the port answers to a scan", Instead: "tls-crypt-v2 FILE force-cookie"}, Server, hasOne("tls-crypt-v2", "tls-crypt", "tls-auth", "secret")},
		{Finding{Directive: "persist-key", On26: Works, On27: Works, Why: "with \"user\" and tls-crypt-v2, any client ends a daemon of 2.6", Instead: "persist-key"}, Server, func(lines []Line) bool {
			return has(lines, "persist-key") || !has(lines, "user") || !has(lines, "tls-crypt-v2")
		}},
		{Finding{Directive: "remote-cert-tls", On26: Works, On27: Works, Why: "another client's certificate could pose as the server", Instead: "remote-cert-tls server"}, Client, hasOne("remote-cert-tls", "remote-cert-eku", "secret")},
		{Finding{Directive: "verify-x509-name", On26: Works, On27: Works, Why: "any certificate for servers of that CA could pose as the gateway", Instead: "verify-x509-name NAME name"}, Client, hasOne("verify-x509-name", "verify-hash", "peer-fingerprint", "secret")},
		{Finding{Directive: "tls-crypt-v2", On26: Works, On27: Works, Why: "anybody between can tell that it is OpenVPN", Instead: "tls-crypt-v2, from the gateway's operator"}, Client, hasOne("tls-crypt-v2", "tls-crypt", "tls-auth", "secret")},
	}
}

// scripts are what names a program that OpenVPN runs.
const scripts = `
auth-user-pass-verify client-connect client-crresponse client-disconnect down ipchange learn-address route-pre-down
route-up tls-crypt-v2-verify tls-verify up
`

// mayRun tells whether OpenVPN runs scripts; the last of several counts.
func mayRun(lines []Line) bool {
	level := configurationOf(lines).said["script-security"]
	return level == "2" || level == "3" || has(lines, "config")
}
