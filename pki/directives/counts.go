// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"fmt"
	"slices"
	"strings"
)

// count is how many arguments directives of 2.6 have. With another number OpenVPN
// does not know them.
type count struct {
	least, most int
	names       string
}

// unlimited is as many as a line has.
const unlimited = mostWords

// counts are put to 2.6 in the tests; 2.7, which was not asked, is taken to have the same.
func counts() []count {
	return []count{
		{0, 0, `allow-pull-fqdn allow-recursive-routing auth-nocache auth-user-pass-optional block-ipv6 ccd-exclusive client
client-cert-not-required client-to-client comp-noadapt disable disable-occ down-pre duplicate-cn errors-to-stderr
fast-io float ifconfig-noexec ifconfig-nowarn machine-readable-output management-client management-client-auth
management-forget-disconnect management-hold management-query-passwords management-query-proxy management-query-remote
management-signal management-up-down mlock mtu-test multihome mute-replay-warnings no-replay nobind opt-verify passtos
persist-key persist-local-ip persist-remote-ip persist-tun ping-timer-rem pkcs11-id-management pull push-peer-info
push-reset remote-random remote-random-hostname route-noexec route-nopull single-session suppress-timestamps tcp-nodelay
tls-client tls-exit tls-server tun-ipv6 up-delay up-restart username-as-common-name vlan-tagging`},
		{0, 1, `askpass auth-user-pass bind comp-lzo compress daemon engine explicit-exit-notify ip-remote-hint max-routes preresolve
syslog verify-client-cert`},
		{0, 2, `mssfix replay-window route-delay`},
		{0, 4, `server-bridge`},
		{0, unlimited, `auth-gen-token disable-dco echo force-tls-key-material-export http-proxy-retry management-external-key
pkcs11-cert-private pkcs11-protected-authentication redirect-gateway redirect-private remote-cert-ku socket-flags
socks-proxy-retry`},
		{1, 1, `allow-compression auth auth-gen-token-secret auth-retry auth-token auth-token-user bcast-buffers ca capath cd cert
chroot cipher client-config-dir config connect-retry-max connect-timeout data-ciphers data-ciphers-fallback dev dev-node
dev-type dh ecdh-curve extra-certs group hand-window http-proxy-timeout ifconfig-ipv6-pool iroute-ipv6 key key-direction
link-mtu lladdr local log log-append lport management-client-group management-client-user management-external-cert
management-log-cache mark max-clients max-packet-size max-routes-per-client memstats mode mtu-disc mute ncp-ciphers nice
ns-cert-type peer-fingerprint ping ping-exit ping-restart pkcs11-id pkcs11-pin-cache pkcs12 port proto proto-force push
push-remove rcvbuf remap-usr1 remote-cert-eku remote-cert-tls reneg-bytes reneg-pkts replay-persist resolv-retry
route-gateway route-ipv6-gateway route-method route-metric rport script-security server-ipv6 server-poll-timeout
session-timeout shaper sndbuf status-version tcp-queue-limit tls-cert-profile tls-cipher tls-ciphersuites
tls-crypt-v2-verify tls-export-cert tls-groups tls-timeout tls-version-max tmp-dir topology tran-window tun-mtu-extra
txqueuelen udp-mtu user verb vlan-accept vlan-pvid writepid x509-track`},
		{1, 2, `compat-mode connect-retry connection crl-verify dhcp-option fragment ifconfig-ipv6-push ifconfig-pool-persist inactive
iroute prng reneg-sec secret setenv setenv-safe stale-routes-check status tls-auth tls-crypt tls-crypt-v2
tls-version-min tun-mtu tun-mtu-max verify-hash verify-x509-name`},
		{1, 3, `http-proxy-option remote route-ipv6 socks-proxy`},
		{1, 4, `http-proxy route`},
		{1, unlimited, `auth-user-pass-verify bind-dev client-connect client-crresponse client-disconnect dns down http-proxy-user-pass
ignore-unknown-option ipchange key-derivation learn-address pkcs11-private-mode pkcs11-providers plugin protocol-flags
providers route-pre-down route-up tls-verify up x509-username-field`},
		{2, 2, `connect-freq connect-freq-initial hash-size ifconfig ifconfig-ipv6 ifconfig-push-constraint keepalive pull-filter
static-challenge`},
		{2, 3, `http-proxy-override ifconfig-pool ifconfig-push management port-share server`},
		{2, unlimited, `keying-material-exporter`},
		{4, 4, `client-nat`},
	}
}

// miscounted finds a directive with too few arguments or too many.
func miscounted(l Line) (Finding, bool) {
	n := len(l.given())
	for _, c := range counts() {
		if (n >= c.least && n <= c.most) || !slices.Contains(strings.Fields(c.names), l.Name) {
			continue
		}
		takes := fmt.Sprintf("%d to %d arguments", c.least, c.most)
		switch {
		case c.most == 0:
			takes = "no argument"
		case c.least == c.most && c.most == 1:
			takes = "1 argument"
		case c.least == c.most:
			takes = fmt.Sprintf("%d arguments", c.least)
		case c.most == unlimited:
			takes = fmt.Sprintf("%d or more arguments", c.least)
		}
		return Finding{On26: removed, On27: removed, Why: fmt.Sprintf("it takes %s and has %d: OpenVPN does not know it so", takes, n), Instead: "the same with " + takes}, true
	}
	return Finding{}, false
}

// Miscounted are lines with too few arguments or too many, which OpenVPN passes over.
func Miscounted() []string {
	var lines []string
	put := func(name string, n int) {
		lines = append(lines, strings.TrimSpace("setenv opt "+name+strings.Repeat(" 1", n)))
	}
	for _, c := range counts() {
		for _, name := range strings.Fields(c.names) {
			if c.least > 0 {
				put(name, c.least-1)
			}
			if c.most < unlimited {
				put(name, c.most+1)
			}
		}
	}
	return lines
}
