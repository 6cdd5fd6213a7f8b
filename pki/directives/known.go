// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
)

// What follows has a line for each directive that 2.6 and 2.7 take as they always
// did: its first word is the directive. They are put to OpenVPN 2.6 in the tests,
// and were to 2.7.8. The files that they name are made by whoever asks.

// of27 are those that came with 2.7.
const of27 = `
allow-deprecated-insecure-static-crypto
dns-updown
route-table
tls-crypt-v2-max-age
`

// inBoth work in servers and in clients.
const inBoth = `
allow-compression no
allow-pull-fqdn
auth-gen-token-secret token.key
auth-nocache
auth-retry none
bcast-buffers 128
cd .
compat-mode 2.5.0
config empty
connect-freq-initial 50 10
connect-retry 1
connect-retry-max 5
connect-timeout 8
data-ciphers-fallback AES-256-GCM
disable-dco
disable-occ
down-pre
down /bin/true
echo on
explicit-exit-notify 1
extra-certs extra.crt
float
group root
hand-window 60
ifconfig-noexec
ifconfig-nowarn
ifconfig-push-constraint 10.8.0.0 255.255.255.0
ignore-unknown-option foo
inactive 600
ip-remote-hint 10.0.0.1
mark 1
max-clients 10
max-packet-size 1400
max-routes-per-client 16
mssfix 1400
mtu-disc yes
mute-replay-warnings
nice 1
passtos
persist-local-ip
persist-remote-ip
persist-tun
ping-timer-rem
preresolve
proto-force udp
providers default
push-peer-info
rcvbuf 0
remap-usr1 SIGTERM
remote-cert-ku a0 80
remote-random
reneg-bytes 0
reneg-pkts 0
reneg-sec 3600
replay-persist replay
replay-window 64 15
resolv-retry 5
route-gateway 10.8.0.1
route-metric 100
route-noexec
route-nopull
route-pre-down /bin/true
route-up /bin/true
rport 1194
script-security 2
server-poll-timeout 8
session-timeout 600
setenv-safe A b
single-session
sndbuf 0
socket-flags
static-challenge text 1
status status
status-version 3
tcp-queue-limit 64
tls-cert-profile preferred
tls-ciphersuites TLS_AES_256_GCM_SHA384
tls-crypt-v2-verify /bin/true
tls-exit
tls-export-cert folder
tls-timeout 2
tls-verify /bin/true
tls-version-max 1.3
tls-version-min 1.2
tmp-dir folder
tran-window 3600
tun-mtu 1420
txqueuelen 100
up-restart
user root
vlan-accept all
vlan-pvid 1
writepid pid
x509-track CN
x509-username-field CN
management management.sock unix
management-client-group root
management-client-user root
management-forget-disconnect
management-log-cache 100
management-signal
management-up-down
`

// inEither work in both too; some are put to servers and some to clients, where
// nothing else in the configuration is against them.
const (
	inEitherServer = `
bind
block-ipv6
ifconfig-ipv6 fd00::1/64 fd00::2
local 127.0.0.1
lport 1194
multihome
port 1194
push "route 10.0.0.0 255.255.0.0"
`
	inEitherClient = `
auth-token x
auth-token-user eA==
client-nat snat 10.9.0.0 255.255.0.0 10.10.0.0
dhcp-option DNS 10.0.0.2
dns server 1 address 10.0.0.2
keepalive 10 60
nobind
protocol-flags tls-ekm
pull-filter ignore route
route 10.1.0.0 255.255.0.0
route-ipv6-gateway fd00::1
verify-x509-name vpn.example.com name
`
)

// inServers are fatal in a client.
const inServers = `
auth-gen-token 3600 external-auth
auth-user-pass-optional
auth-user-pass-verify /bin/true via-file
ccd-exclusive
client-config-dir folder
client-connect /bin/true
client-crresponse /bin/true
client-disconnect /bin/true
client-to-client
connect-freq 10 60
duplicate-cn
force-tls-key-material-export
hash-size 512 512
ifconfig-ipv6-pool fd00::10/112
ifconfig-pool 10.8.0.4 10.8.0.9 255.255.255.0
ifconfig-pool-persist pool
learn-address /bin/true
port-share 127.0.0.1 443
stale-routes-check 600
username-as-common-name
vlan-tagging
`

// inClients are fatal in a server.
const inClients = `
allow-recursive-routing
auth-user-pass password
client
http-proxy 127.0.0.1 8080
ipchange /bin/true
nobind
pull
redirect-gateway def1
redirect-private
remote 127.0.0.1 1194
route-delay 5
shaper 10000
socks-proxy 127.0.0.1 1080
tls-client
up-delay
`

// inPersonFiles are fatal in both: they are for the files of client-config-dir,
// and for what a script of client-connect writes.
const inPersonFiles = `
disable
ifconfig-ipv6-push fd00::4/64
ifconfig-push 10.8.0.4 255.255.255.0
iroute 10.1.0.0 255.255.0.0
iroute-ipv6 fd01::/64
push-remove route
push-reset
`

// notAsked are those that a test's own configurations have, that take the log
// away, or that want what is not everywhere: another system, a device, another
// directive or a server to be there.
const notAsked = `
askpass bind-dev ca capath cert chroot comp-noadapt connection crl-verify daemon data-ciphers dev dev-node
dev-type engine errors-to-stderr fast-io fragment http-proxy-option http-proxy-override http-proxy-user-pass ifconfig
key key-derivation key-direction keying-material-exporter link-mtu lladdr log log-append machine-readable-output
management-client management-client-auth management-external-cert management-external-key management-hold
management-query-passwords management-query-proxy management-query-remote mlock mode mtu-test peer-fingerprint ping
mute ping-exit ping-restart pkcs11-cert-private pkcs11-id pkcs11-id-management pkcs11-pin-cache pkcs11-private-mode
pkcs11-protected-authentication pkcs11-providers pkcs12 plugin proto remote-cert-eku remote-cert-tls
remote-random-hostname route-ipv6 route-method server server-bridge server-ipv6 setenv suppress-timestamps syslog tcp-nodelay
tls-crypt tls-crypt-v2 tls-server topology tun-mtu-extra tun-mtu-max udp-mtu up verb verify-client-cert verify-hash
`

// onWindows are not known elsewhere.
const onWindows = `
allow-nonadmin block-outside-dns cryptoapicert dhcp-pre-release dhcp-release dhcp-renew ip-win32 pause-exit register-dns
service tap-sleep win-sys windows-driver
`

// inConnections are what a <connection> can hold, and inTags what can stand as <tag>,
// with what it holds behind it.
const (
	inConnections = `
bind connect-retry connect-retry-max connect-timeout explicit-exit-notify float fragment http-proxy http-proxy-option
http-proxy-retry http-proxy-timeout key-direction link-mtu local lport max-packet-size mssfix mtu-disc nobind port proto
remote rport server-poll-timeout socks-proxy socks-proxy-retry tls-auth tls-crypt tls-crypt-v2 tun-mtu tun-mtu-extra
tun-mtu-max udp-mtu
`
	inTags = `
auth-gen-token-secret auth-user-pass ca cert connection crl-verify dh extra-certs http-proxy-user-pass key
peer-fingerprint pkcs12 secret tls-auth tls-crypt tls-crypt-v2 verify-hash
`
)

// isIn tells whether one of the lines is of a directive.
func isIn(lines, name string) bool {
	return slices.ContainsFunc(sampleLines(lines), func(line string) bool { return nameIn(line) == name })
}

func sampleLines(lines string) []string { return strings.Split(strings.Trim(lines, "\n"), "\n") }

func nameIn(line string) string {
	name, _, _ := strings.Cut(line, " ")
	return name
}

// isKnown tells whether 2.6 and 2.7 know a directive.
func isKnown(name string) bool {
	return slices.Contains(strings.Fields(notAsked), name) ||
		slices.ContainsFunc([]string{inBoth, inEitherServer, inEitherClient, inServers, inClients, inPersonFiles}, func(lines string) bool { return isIn(lines, name) })
}
