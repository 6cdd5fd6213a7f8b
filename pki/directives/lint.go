// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
)

// Effect is what an OpenVPN does with a directive.
type Effect string

// The effects there are.
const (
	Works   Effect = "works"
	Ignored Effect = "ignored"
	Warns   Effect = "warns"   // it starts, and says that the directive is old
	Fatal   Effect = "fatal"   // it does not start
	Unknown Effect = "unknown" // not to this program
)

// Finding is what there is to say of a directive, or of one that is missing.
type Finding struct {
	Line      int    `json:"line,omitempty"` // 0: it is missing
	Directive string `json:"directive"`
	On26      Effect `json:"openvpn_2_6"`
	On27      Effect `json:"openvpn_2_7"`
	Why       string `json:"why,omitempty"`
	Instead   string `json:"instead,omitempty"`
}

// Fine tells that there is nothing to do.
func (f Finding) Fine() bool { return f.Instead == "" && f.On26 == Works && f.On27 == Works }

// Role is which end a configuration is of.
type Role string

// The two ends.
const (
	Server Role = "server"
	Client Role = "client"
)

// RoleOf tells which end a configuration is of.
func RoleOf(lines []Line) Role {
	for _, l := range lines {
		if l.Name == "server" || l.Name == "tls-server" || l.Name == "mode" && len(l.Args) > 0 && l.Args[0] == "server" {
			return Server
		}
	}
	return Client
}

// Lint tells of every directive what 2.6 and 2.7 do with it, in the order of
// the file, and then what is missing.
func Lint(lines []Line) []Finding {
	role := RoleOf(lines)
	var findings []Finding
	for _, l := range lines {
		findings = append(findings, judge(l, role))
	}
	for _, m := range missing() {
		if m.role == role && !m.met(lines) {
			findings = append(findings, Finding{Directive: "no " + m.Directive, On26: m.On26, On27: m.On27, Why: m.Why, Instead: m.Instead})
		}
	}
	return findings
}

func judge(l Line, role Role) Finding {
	found := Finding{Line: l.Number, Directive: l.String(), On26: Works, On27: Works}
	for _, r := range rules() {
		if r.name == l.Name && (r.role == "" || r.role == role) && (r.when == nil || r.when(l.Args)) {
			found.On26, found.On27, found.Why, found.Instead = r.on26, r.on27, r.why, r.instead
			return found
		}
	}
	switch {
	case slices.Contains(strings.Fields(unchanged), l.Name):
	case slices.Contains(strings.Fields(of27), l.Name):
		found.On26, found.Why = Unknown, "new in 2.7: 2.6 does not start with it"
	default:
		found.On26, found.On27, found.Why = Unknown, Unknown, "OpenVPN does not start with what it does not know: see openvpn(8)"
	}
	return found
}

// has tells whether a directive is there.
func has(lines []Line, name string) bool {
	return slices.ContainsFunc(lines, func(l Line) bool { return l.Name == name })
}

// of27 are those that came with 2.7.
const of27 = `allow-deprecated-insecure-static-crypto dns-updown route-table tls-crypt-v2-max-age`

// unchanged are the directives that 2.6 and 2.7 take as they always did. Both
// were asked, 2.6.14 and 2.7.8, about every word of theirs.
const unchanged = `
allow-compression allow-pull-fqdn allow-recursive-routing askpass auth-gen-token auth-gen-token-secret
auth-nocache auth-retry auth-token auth-token-user auth-user-pass auth-user-pass-optional auth-user-pass-verify
bcast-buffers bind bind-dev block-ipv6 block-outside-dns ca capath ccd-exclusive cd cert chroot client
client-config-dir client-connect client-crresponse client-disconnect client-nat comp-noadapt compat-mode config
connect-freq connect-freq-initial connect-retry connect-retry-max connect-timeout crl-verify daemon data-ciphers
data-ciphers-fallback dev dev-node dev-type dhcp-option disable-dco disable-occ dns down down-pre echo engine
errors-to-stderr explicit-exit-notify extra-certs fast-io float force-tls-key-material-export fragment group
hand-window hash-size http-proxy http-proxy-option http-proxy-override http-proxy-user-pass ifconfig
ifconfig-ipv6 ifconfig-ipv6-pool ifconfig-noexec ifconfig-nowarn ifconfig-pool ifconfig-pool-persist
ifconfig-push ifconfig-push-constraint ignore-unknown-option inactive ip-remote-hint ipchange iroute iroute-ipv6
keepalive key key-derivation key-direction keying-material-exporter learn-address link-mtu lladdr local log
log-append lport machine-readable-output management management-client management-client-auth
management-client-group management-client-user management-external-cert management-external-key
management-forget-disconnect management-hold management-log-cache management-query-passwords
management-query-proxy management-query-remote management-signal management-up-down mark max-clients
max-packet-size mlock mode mssfix mtu-disc mtu-test multihome mute mute-replay-warnings nice nobind passtos
peer-fingerprint persist-local-ip persist-remote-ip persist-tun ping ping-exit ping-restart ping-timer-rem
pkcs11-cert-private pkcs11-id pkcs11-id-management pkcs11-pin-cache pkcs11-private-mode
pkcs11-protected-authentication pkcs11-providers pkcs12 plugin port port-share preresolve proto proto-force
protocol-flags providers pull pull-filter push push-peer-info push-remove rcvbuf redirect-gateway
redirect-private remap-usr1 remote remote-cert-eku remote-cert-ku remote-cert-tls remote-random
remote-random-hostname reneg-bytes reneg-pkts reneg-sec replay-persist replay-window resolv-retry route
route-delay route-gateway route-ipv6 route-ipv6-gateway route-method route-metric route-noexec route-nopull
route-pre-down route-up rport script-security server server-bridge server-ipv6 server-poll-timeout
session-timeout setenv setenv-safe shaper single-session sndbuf socket-flags socks-proxy stale-routes-check
static-challenge status status-version suppress-timestamps syslog tcp-nodelay tcp-queue-limit tls-cert-profile
tls-ciphersuites tls-client tls-crypt tls-crypt-v2 tls-crypt-v2-verify tls-exit tls-export-cert tls-server
tls-timeout tls-verify tls-version-max tls-version-min tmp-dir topology tran-window tun-mtu tun-mtu-extra
tun-mtu-max txqueuelen udp-mtu up up-delay up-restart user username-as-common-name verb verify-client-cert
verify-hash verify-x509-name vlan-accept vlan-pvid vlan-tagging windows-driver writepid x509-track
x509-username-field
`
