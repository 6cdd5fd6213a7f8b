// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package profile writes the .ovpn file that a person imports into their
// OpenVPN client, and reads of one what is needed to knock at the gateway.
package profile

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// DefaultPort is OpenVPN's own, registered with IANA.
const DefaultPort = 1194

// Remote is where the gateway is.
type Remote struct {
	Host string
	Port uint16
}

func (r Remote) String() string { return r.Host + ":" + strconv.Itoa(int(r.Port)) }

// ParseRemote reads HOST or HOST:PORT.
func ParseRemote(s string) (Remote, error) {
	const allowed = "give HOST or HOST:PORT, such as \"vpn.example.com\" or \"203.0.113.10:1194\""
	host, port, hasPort := strings.Cut(s, ":")
	if strings.Count(s, ":") > 1 || strings.HasPrefix(s, "[") {
		return Remote{}, fmt.Errorf("the remote %q is an IPv6 address, and the gateway listens on IPv4: %s", s, allowed)
	}
	remote := Remote{Host: host, Port: DefaultPort}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Remote{}, fmt.Errorf("the remote %q has the port %q, which is not 1 to 65535: %s", s, port, allowed)
		}
		remote.Port = uint16(n)
	}
	if err := checkHost(host); err != nil {
		return Remote{}, fmt.Errorf("the remote %q %w: %s", s, err, allowed)
	}
	return remote, nil
}

// checkHost takes an IPv4 address or a host name (RFC 1123, with the
// underscores that some zones have).
func checkHost(host string) error {
	// OpenVPN ends at a line of more than 255 bytes with its end (OPTION_LINE_SIZE
	// in its options.h); DNS has names of up to 253.
	const longest = 255 - len("remote  65535\n")
	if host == "" || len(host) > longest {
		return fmt.Errorf("has a host of %d bytes, OpenVPN takes 1 to %d", len(host), longest)
	}
	for _, r := range host {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r) {
			return fmt.Errorf("has %q in its host", r)
		}
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return fmt.Errorf("has a host that is no host name")
		}
	}
	// A name whose last part is a number is meant as an address.
	if _, err := strconv.ParseUint(labels[len(labels)-1], 10, 64); err == nil {
		if address, err := netip.ParseAddr(host); err != nil || !address.Is4() {
			return fmt.Errorf("has a host that is no IPv4 address")
		}
	}
	return nil
}

// Protocols are what a profile's proto can be.
func Protocols() []string { return []string{"udp", "tcp"} }

// Unwrapped tells whether a profile goes without tls-crypt-v2 where need be.
type Unwrapped bool

// Profile is what a person's file holds.
type Profile struct {
	Name       string
	Authority  string
	ServerName string
	Protocol   string
	Remotes    []Remote
	CA         []*x509.Certificate

	Certificate *x509.Certificate
	Key         bundle.Secret // zero: it stays in the person's own file NAME.key
	TLSCryptV2  bundle.Secret

	// Unwrapped has the profile connect to a gateway without tls-crypt-v2 where
	// it meets none with it.
	Unwrapped Unwrapped

	Template *Template // nil: the text as it is
}

// Render writes the file with everything in it. Every name in it is of the safe
// alphabet: a line break in one would be a directive.
func (p Profile) Render() ([]byte, error) { return p.render(nil) }

func (p Profile) render(at placed) ([]byte, error) {
	if err := p.checkNames(); err != nil {
		return nil, err
	}
	if len(p.Remotes) == 0 || !slices.Contains(Protocols(), p.Protocol) {
		return nil, fmt.Errorf("writing the profile of %q: a remote and a protocol are needed", p.Name)
	}
	fields := p.fields(at)
	if p.Template == nil {
		return []byte(fields.Profile), nil
	}
	text, err := p.Template.render(fields)
	if err != nil {
		return nil, fmt.Errorf("writing the profile of %q: %w", p.Name, err)
	}
	return text, nil
}

func (p Profile) directives(out *bytes.Buffer, at placed) {
	line := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	holds := "It holds a private key: keep it as you keep a password."
	if _, apart := at["key"]; apart || at["pkcs12"] != "" {
		holds = "Keep it with the files that it names."
	}
	line("# OpenVPN profile of %s for %s, made by vpnami-pki. %s", p.Name, p.Authority, holds)
	if p.Key.IsZero() {
		line("# The key of the certificate is in %s.key beside it.", p.Name)
	}
	line(serialLine+"%s, good until %s.", p.Certificate.SerialNumber, p.Certificate.NotAfter.UTC().Format(time.DateOnly))
	line("client")
	line("dev tun")
	if p.Protocol == "tcp" {
		line("proto tcp4-client")
	} else {
		line("proto udp4")
	}
	if !p.Unwrapped {
		for _, remote := range p.Remotes {
			line("remote %s %d", remote.Host, remote.Port)
		}
		if len(p.Remotes) > 1 {
			// OpenVPN waits two minutes for one that is down.
			line("connect-timeout %d", nextAfter)
		}
	}
	line("nobind")
	line("resolv-retry infinite")
	// The extended key usage, then the name: another client's certificate
	// cannot pose as the server.
	line("remote-cert-tls server")
	line("verify-x509-name %s name", p.ServerName)
	line("tls-version-min 1.2")
	// AEAD only: what the kernel's data channel offload can carry.
	line("data-ciphers AES-256-GCM:CHACHA20-POLY1305:AES-128-GCM")
	line("auth-nocache")
	if p.Protocol == "udp" {
		line("explicit-exit-notify 2") // OpenVPN refuses it with TCP
	}
	line("verb 3")
}
