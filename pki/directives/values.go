// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"cmp"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// value is an argument that is to have a form. That OpenVPN does not start with what is
// wrong is put to 2.6 in the tests, and was to 2.7.8.
type value struct {
	line  string // with "#" where it stands; of "#...", each argument from there on
	takes func(text string) bool
	is    string // what it is to be
	of    string // the first argument, where it is of that alone
	on26  Effect // of what is wrong; empty: [Fatal], as it is in 2.7
	// What it must not be, and other lines that are beside it when OpenVPN is asked.
	wrong []string
	with  []string
}

func values() []value {
	number := func(text string) bool { n, is := entire(text); return is && n >= 0 }
	oneOf := func(words string) func(string) bool {
		return func(text string) bool { return slices.Contains(strings.Fields(words), text) }
	}
	either := func(one, other func(string) bool) func(string) bool {
		return func(text string) bool { return one(text) || other(text) }
	}
	const (
		address4 = "an address of IPv4"
		address6 = "an address of IPv6"
		network6 = "a network of IPv6 of 64 to 124 bits"
		flags    = "autolocal block-local bypass-dhcp bypass-dns def1 ipv6 !ipv4 local"
	)
	ownPool := []string{"no server", "mode server", "tls-server"}
	bridge := []string{"dev tap0", "dev-type tap", "dh none"}
	return []value{
		{line: "client-nat snat # 255.255.0.0 10.10.0.0", takes: isNumbered, is: address4, wrong: []string{"fd00::1"}},
		{line: "client-nat snat 10.9.0.0 # 10.10.0.0", takes: isNumbered, is: "a netmask", wrong: []string{"/16"}},
		{line: "client-nat snat 10.9.0.0 255.255.0.0 #", takes: isNumbered, is: address4, wrong: []string{"word"}},
		{line: "ifconfig # 255.255.255.0", takes: is4, is: address4, wrong: []string{"10.8.0", "fd00::1"}},
		{line: "ifconfig 10.8.0.1 #", takes: is4, is: "a netmask, or the other end's address", wrong: []string{"/24", "24"}},
		{line: "ifconfig-push-constraint # 255.255.255.0", takes: isNumbered, is: address4, wrong: []string{"word"}},
		{line: "ifconfig-push-constraint 10.8.0.0 #", takes: isNumbered, is: "a netmask", wrong: []string{"/24"}},
		{line: "ifconfig-pool # 10.8.0.9", takes: isIn4, is: address4, wrong: []string{"word"}, with: ownPool},
		{line: "ifconfig-pool 10.8.0.4 #", takes: isIn4, is: address4, wrong: []string{"10.8.0.256"}, with: ownPool},
		{line: "ifconfig-pool 10.8.0.4 10.8.0.9 #", takes: isIn4, is: "a netmask", wrong: []string{"/24"}, with: ownPool},
		{line: "route-gateway #", takes: either(is4, oneOf("dhcp")), is: address4 + `, or "dhcp"`, wrong: []string{"gateway.example.com", "fd00::1"}},
		{line: "server # 255.255.255.0", takes: isIn4, is: address4, wrong: []string{"10.8.0.0/33", "fd00::"}},
		{line: "server 10.8.0.0 #", takes: isIn4, is: "a netmask", wrong: []string{"/24", "24"}},
		{line: "server-bridge # 255.255.255.0 10.8.0.128 10.8.0.254", takes: either(isIn4, oneOf("nogw")), is: address4, wrong: []string{"word"}, with: bridge},
		{line: "server-bridge 10.8.0.4 # 10.8.0.128 10.8.0.254", takes: isIn4, is: "a netmask", wrong: []string{"/24"}, with: bridge},
		{line: "server-bridge 10.8.0.4 255.255.255.0 # 10.8.0.254", takes: isIn4, is: address4, wrong: []string{"word"}, with: bridge},
		{line: "server-bridge 10.8.0.4 255.255.255.0 10.8.0.128 #", takes: isIn4, is: address4, wrong: []string{"word"}, with: bridge},
		{line: "ifconfig-ipv6 # fd00::2", takes: isWithin(0, 128), is: address6 + ", with its network's bits", wrong: []string{"10.8.0.1", "fd00::1/129"}},
		{line: "ifconfig-ipv6 fd00::1/64 #", takes: is6, is: address6, wrong: []string{"10.8.0.1", "fd00::2/64"}},
		{line: "ifconfig-ipv6-pool #", takes: isWithin(64, 124), is: network6, wrong: []string{"10.8.0.1", "fd00::10/125"}, with: []string{"ifconfig-ipv6 fd00::1/64 fd00::2"}},
		{line: "server-ipv6 #", takes: isWithin(64, 124), is: network6, wrong: []string{"10.8.0.0/24", "fd00::/63", "fd00::/125", "fd00::/word"}},
		{line: "route-ipv6-gateway #", takes: is6, is: address6, wrong: []string{"10.8.0.1", "word"}},
		{line: "auth-gen-token 3600 #", takes: either(oneOf("external-auth"), number), is: `a number of seconds, or "external-auth"`, wrong: []string{"word"}},
		{line: "dev-type #", takes: oneOf("null tap tun"), is: "tap or tun", wrong: []string{"word"}},
		{line: "keying-material-exporter # 16", takes: func(text string) bool { return strings.HasPrefix(text, "EXPORTER") }, is: `a label that begins with "EXPORTER"`, wrong: []string{"word"}},
		{line: "lladdr #", takes: isMAC, is: "a MAC address", wrong: []string{"xx"}, with: []string{"dev tap0", "dev-type tap", "dh none"}},
		{line: "peer-fingerprint #", takes: isFingerprint(32), is: "a certificate's SHA-256, two hexadecimal digits for each byte, with colons between", wrong: []string{"00:11", strings.Repeat("00", 32)}},
		{line: "protocol-flags #...", takes: oneOf("aead-epoch cc-exit dyn-tls-crypt tls-ekm"), is: "cc-exit, dyn-tls-crypt or tls-ekm", wrong: []string{"word"}},
		{line: "redirect-gateway #...", takes: oneOf(flags), is: "some of " + flags, wrong: []string{"word", "def1 word"}},
		{line: "redirect-private #...", takes: oneOf(flags), is: "some of " + flags, wrong: []string{"word"}},
		{line: "resolv-retry #", takes: either(oneOf("infinite"), number), is: `a number of seconds, or "infinite"`, on26: Works},
		{line: "dhcp-option DNS #", of: "DNS", takes: either(is4, is6), is: "an address", on26: Works},
		{line: "setenv # x", takes: func(text string) bool { return len(text) > 1 }, is: "a name of two letters or more", wrong: []string{"A"}},
		{line: "tls-cipher #", takes: hasSuite, is: "a list with one at least that OpenSSL 3 has", wrong: []string{"word", "TLS-RSA-WITH-RC4-128-SHA"}},
		{line: "tls-ciphersuites #", takes: either(hasSuite13, func(text string) bool { return text == "" }), is: "a list with one at least of TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256 and TLS_AES_128_GCM_SHA256", wrong: []string{"word"}},
		{line: "verify-hash #", takes: either(isFingerprint(20), isFingerprint(32)), is: "a certificate's SHA-1, or its SHA-256 and \"SHA256\" behind it, two hexadecimal digits for each byte, with colons between", wrong: []string{"00:11"}},
		{line: "verify-x509-name # name", takes: func(text string) bool { return text != "" }, is: "a name", wrong: []string{`""`}},
	}
}

// misformed finds an argument that has not the form that it is to have.
func misformed(l Line, values []value) (Finding, bool) {
	for _, v := range values {
		for _, text := range v.given(l) {
			if !v.takes(text) {
				return Finding{On26: cmp.Or(v.on26, Fatal), On27: Fatal, Why: strconv.Quote(text) + " is none", Instead: l.Name + " with " + v.is}, true
			}
		}
	}
	return Finding{}, false
}

// given are the arguments of a line that are to have the form.
func (v value) given(l Line) []string {
	if v.of != "" && (len(l.Args) == 0 || l.Args[0] != v.of) {
		return nil
	}
	if first, each := strings.CutSuffix(v.line, "..."); each {
		if first == l.Name+" #" && !l.Inlined {
			return l.Args
		}
		return nil
	}
	if text, is := at(v.line, l); is {
		return []string{text}
	}
	return nil
}

func is4(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is4()
}

// isIn4 is where OpenVPN takes, and passes over, the bits of a network behind it.
func isIn4(text string) bool {
	prefix, err := netip.ParsePrefix(text)
	return isNumbered(text) || err == nil && prefix.Addr().Is4()
}

func is6(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6()
}

// isNumbered is where OpenVPN takes the shorter forms of inet_aton(3) as well, "10.1" for
// 10.0.0.1.
func isNumbered(text string) bool {
	_, is := number4(text)
	return is
}

func isMAC(text string) bool {
	address, err := net.ParseMAC(text)
	return err == nil && len(address) == 6 && strings.Contains(text, ":")
}

// isWithin is an address of IPv6, and the bits of its network: 64 where they are not said.
func isWithin(least, most int) func(string) bool {
	return func(text string) bool {
		address, bits, said := strings.Cut(text, "/")
		n, err := strconv.Atoi(bits)
		return is6(address) && (!said || err == nil && n >= least && n <= most)
	}
}

func isFingerprint(bytes int) func(string) bool {
	form := regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){` + strconv.Itoa(bytes-1) + `}$`)
	return form.MatchString
}
