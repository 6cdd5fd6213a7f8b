// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"slices"
	"sort"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// File is one file or folder of a generation. All are root's and of the
// daemon's group, and nobody else's.
type File struct {
	Path string // within the generation
	Mode fs.FileMode
	Data []byte
}

// Format prints what a file is and never what is in it, whatever the verb: it
// may be a key.
func (f File) Format(to fmt.State, _ rune) {
	_, _ = fmt.Fprintf(to, "%s (%s, %d bytes)", f.Path, f.Mode, len(f.Data))
}

// LogValue is the same for a logger that does not print with fmt.
func (f File) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(f)) }

// MarshalJSON is the same for one that writes JSON, and finds the files in
// something else.
func (f File) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(f)) }

const (
	// fileMode: the daemon reads its files by group and can change none.
	fileMode   fs.FileMode = 0o640
	folderMode fs.FileMode = fs.ModeDir | 0o750

	rules4 = "rules.v4"
	rules6 = "rules.v6"

	probeConfig = "probe/client.conf"

	// revokedFolder has a file for each revoked certificate, named by its serial.
	revokedFolder = "revoked"
)

// placement is where a rendered file finds the others on the machine.
type placement struct {
	current string // the folder in force
	hook    string // OpenVPN's client-connect hook
	offload string // what the image decides of the data channel
}

// render makes the files of an instance. It is pure: the same arguments give
// the same files in the same order.
func render(c Config, b bundle.Bundle, where placement, instance Instance) ([]File, error) {
	if c.Role == RoleStep {
		return []File{
			{rules4, fileMode, stepRules(instance.VPC, c.Network)},
			{rules6, fileMode, closedRules6()},
		}, nil
	}
	p := bundle.PlanAddresses(c.Network)
	if err := p.Judge(b.Access.Roster); err != nil {
		return nil, refusing(fmt.Errorf("rendering the people of the roster: %w", err), "give the person another address, or the launch another \"network\", and publish again")
	}
	files := []File{
		{"server.conf", fileMode, serverConf(c, p, where, b.Server.Wrapping)},
		{"ca.crt", fileMode, bundle.CertificatesPEM(b.Server.CA...)},
		{"server.crt", fileMode, bundle.CertificatesPEM(b.Server.Certificate)},
		{"server.key", fileMode, b.Server.Key.Reveal()},
		{"tls-crypt-v2.key", fileMode, b.Server.TLSCryptV2.Reveal()},
		{"ccd", folderMode, nil},
		{revokedFolder, folderMode, nil},
		{"serials", folderMode, nil},
		{"probe", folderMode, nil},
		{probeConfig, fileMode, probeConf(c, b.Server, where)},
		{"probe/client.crt", fileMode, bundle.CertificatesPEM(b.Server.Probe.Certificate)},
		{"probe/client.key", fileMode, b.Server.Probe.Key.Reveal()},
		{"probe/tls-crypt-v2.key", fileMode, b.Server.Probe.TLSCryptV2.Reveal()},
		{rules4, fileMode, vpnRules(c, p, instance.VPC)},
		{rules6, fileMode, closedRules6()},
	}
	if c.Health == healthTCP {
		// For vpnami-health.socket: without it, the port stays closed.
		files = append(files, File{"health", fileMode, nil})
	}
	files = append(files, people(b, p)...)
	for _, serial := range b.Revoked() {
		// OpenVPN looks for a file named by the decimal serial, of each certificate of
		// the chain: the CA's own would shut everybody out. A person who has the same
		// one of another program is bound by the roster.
		if hasSerial(b.Server.CA, serial.String()) {
			continue
		}
		files = append(files, File{revokedFolder + "/" + serial.String(), fileMode, nil})
	}
	// sort.Slice has one sorting for all types; slices.SortFunc would put another
	// 20 kB into the program for this one.
	sort.Slice(files, func(a, b int) bool { return files[a].Path < files[b].Path })
	return files, nil
}

func hasSerial(certificates []*x509.Certificate, serial string) bool {
	return slices.ContainsFunc(certificates, func(c *x509.Certificate) bool { return c.SerialNumber.String() == serial })
}

// people renders the allow-list: OpenVPN admits a name only if ccd/ has a file
// of that name (ccd-exclusive), and the hook a serial only if serials/ has it.
// A name outside the alphabet is admitted by its serial alone, which is in the
// one file for all of these.
func people(b bundle.Bundle, p bundle.AddressPlan) []File {
	files := []File{
		{"ccd/" + bundle.ProbeName, fileMode, fmt.Appendf(nil, "ifconfig-push %s %s\n", p.Probe, p.Mask())},
		{"serials/" + bundle.ProbeName, fileMode, fmt.Appendln(nil, b.Server.Probe.Certificate.SerialNumber)},
	}
	var bound []byte
	for _, person := range b.Access.Roster {
		var own, serials []byte
		if person.Address.IsValid() {
			own = fmt.Appendf(nil, "ifconfig-push %s %s\n", person.Address, p.Mask())
		}
		for _, serial := range person.Serials {
			serials = fmt.Appendln(serials, serial)
		}
		if person.CommonName != "" { // beside the name, which newer certificates have
			files = append(files, File{"ccd/" + bundle.ClientFile(person.CommonName), fileMode, own})
			if bundle.CheckName(person.CommonName) == nil { // another's in the roster but for capitals
				files = append(files, File{"serials/" + person.CommonName, fileMode, serials})
			} else {
				bound = append(bound, serials...)
			}
		}
		if len(serials) == 0 {
			serials = []byte("any\n")
		}
		files = append(files, File{"ccd/" + person.Name, fileMode, own}, File{"serials/" + person.Name, fileMode, serials})
	}
	return append(files, File{boundFile, fileMode, bound})
}

// boundFile has the serials of those whose common names are outside the
// alphabet.
const boundFile = "bound"

// serverConf is the article's server.conf in the form that OpenVPN 2.6 and 2.7
// want today. It has no user and group: the unit starts the daemon as nobody
// else but vpnami-openvpn.
func serverConf(c Config, p bundle.AddressPlan, where placement, wrapping bundle.Wrapping) []byte {
	at := func(name string) string { return where.current + "/" + name }
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("# Written by vpnami-firstboot; it is written anew when the launch or the secret changes.")
	line("port %d", c.Port)
	line("proto %s", serverProto(c.Proto))
	line("dev tun0")
	line("dev-type tun")
	// Whether the kernel carries the data: the bake knows its OpenVPN and its
	// kernel, and leaves the answer in OpenVPN's own words.
	line("config %s", where.offload)
	line("topology subnet")
	line("server %s %s nopool", p.Network.Addr(), p.Mask())
	line("ifconfig-pool %s %s %s", p.PoolFirst, p.PoolLast, p.Mask())
	line("client-config-dir %s", at("ccd"))
	line("ccd-exclusive")
	// OpenVPN's own default of 1024 where the network has more room.
	line("max-clients %d", min(p.Clients(), 1024))
	line("")
	line("ca %s", at("ca.crt"))
	line("cert %s", at("server.crt"))
	line("key %s", at("server.key"))
	line("dh none")
	line("tls-version-min 1.2")
	line("tls-cert-profile preferred")
	line("remote-cert-tls client")
	line("verify-client-cert require")
	if wrapping == bundle.NoWrapping {
		// Profiles of another program may ask for compression, which is agreed
		// to and never done.
		line("compress migrate")
	} else {
		line("tls-crypt-v2 %s force-cookie", at("tls-crypt-v2.key"))
	}
	line("data-ciphers AES-256-GCM:CHACHA20-POLY1305:AES-128-GCM")
	line("crl-verify %s dir", at(revokedFolder))
	line("script-security 2")
	line("client-connect %s", where.hook)
	line("")
	line("keepalive 10 60")
	if c.Proto == "udp" {
		line("explicit-exit-notify 1")
		// The limit is one for all: at 2.6's own of 100 in 10 s, a first packet that
		// somebody has seen on its way and sends again keeps everybody out. What it is
		// for, that no flood of answers goes to who has not asked, is little here: an
		// answer has 72 bytes and the packet 353 (26 and 14 without a wrapping), and
		// nothing is remembered of it.
		line("connect-freq-initial 100000 10")
	}
	for _, route := range c.Routes {
		line("push \"route %s %s\"", route.Addr(), bundle.PlanAddresses(route).Mask())
	}
	for _, address := range c.DNS {
		line("push \"dhcp-option DNS %s\"", address)
	}
	// Below 2.6's default of 1492, with which sessions over PPPoE hang
	// (OpenVPN #831, #571).
	line("mssfix 1400")
	line("persist-tun")
	line("persist-key")
	line("status-version 3")
	line("verb 3")
	return []byte(b.String())
}

func serverProto(proto string) string {
	if proto == "tcp" {
		return "tcp4-server"
	}
	return "udp4"
}

// probeConf is the client with which the gateway proves itself. It makes no
// tunnel device and takes no routes: what it proves is the handshake, the
// certificate's admission and the address that it is given.
func probeConf(c Config, server bundle.Server, where placement) []byte {
	at := func(name string) string { return where.current + "/" + name }
	proto := "udp4"
	if c.Proto == "tcp" {
		proto = "tcp4-client"
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("client")
	line("dev null")
	line("proto %s", proto)
	line("remote 127.0.0.1 %d", c.Port)
	line("nobind")
	line("ifconfig-noexec")
	line("route-noexec")
	line("script-security 0")
	line("connect-retry-max 1")
	// Below proveWithin, so that the client itself says what it waited for.
	line("hand-window 8")
	line("ca %s", at("ca.crt"))
	line("cert %s", at("probe/client.crt"))
	line("key %s", at("probe/client.key"))
	if server.Wrapping != bundle.NoWrapping {
		line("tls-crypt-v2 %s", at("probe/tls-crypt-v2.key"))
	}
	line("remote-cert-tls server")
	line("verify-x509-name %s name", server.Certificate.Subject.CommonName)
	line("tls-version-min 1.2")
	line("data-ciphers AES-256-GCM:CHACHA20-POLY1305:AES-128-GCM")
	if c.Proto == "udp" {
		line("explicit-exit-notify 1")
	}
	line("suppress-timestamps")
	line("verb 3")
	return []byte(b.String())
}

// daemonFiles are those that the daemon reads at its start only; the rest it
// reads anew for each client.
func daemonFiles() []string {
	return []string{"server.conf", "ca.crt", "server.crt", "server.key", "tls-crypt-v2.key"}
}

// digest tells two sets of files apart.
func digest(files []File, names ...string) string {
	sum := sha256.New()
	for _, f := range files {
		if len(names) == 0 || slices.Contains(names, f.Path) {
			add(sum, f)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func add(sum hash.Hash, f File) {
	data := sha256.Sum256(f.Data)
	_, _ = fmt.Fprintf(sum, "%q %o %x\n", f.Path, f.Mode, data)
}
