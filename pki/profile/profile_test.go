// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
)

var update = flag.Bool("update", false, "write the golden files")

func example(tb testing.TB) Profile {
	tb.Helper()
	a := bundletest.New(tb, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	certificate, key := a.Issue("client1", x509.ExtKeyUsageClientAuth)
	return Profile{
		Name: "client1", Authority: "office", ServerName: "vpn.example.com", Protocol: "udp",
		Remotes: []Remote{{"vpn.example.com", 1194}, {"203.0.113.10", 443}},
		CA:      []*x509.Certificate{a.CA}, Certificate: certificate,
		Key: bundle.NewSecret(key), TLSCryptV2: bundle.NewSecret(a.ClientKey()),
	}
}

func TestRender(t *testing.T) {
	for _, protocol := range Protocols() {
		p := example(t)
		p.Protocol = protocol
		text, err := p.Render()
		if err != nil {
			t.Fatal(err)
		}
		for _, inline := range [][]byte{bundle.CertificatesPEM(p.CA...), bundle.CertificatesPEM(p.Certificate), p.Key.Reveal(), p.TLSCryptV2.Reveal()} {
			if !bytes.Contains(text, inline) {
				t.Errorf("%s: something is not inline", protocol)
			}
			// Keys differ from run to run; the golden file is of the rest.
			text = bytes.Replace(text, inline, []byte("(PEM)\n"), 1)
		}
		golden := filepath.Join("testdata", protocol+".ovpn")
		if *update {
			if err := os.WriteFile(golden, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s (-update writes it):\n%s", protocol, diff)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Profile){
		"name":        func(p *Profile) { p.Name = "a\nscript-security 2" },
		"authority":   func(p *Profile) { p.Authority = "a\nup /bin/sh" },
		"server name": func(p *Profile) { p.ServerName = "a b" },
		"no remote":   func(p *Profile) { p.Remotes = nil },
		"protocol":    func(p *Profile) { p.Protocol = "udp4" },
	} {
		p := example(t)
		edit(&p)
		if _, err := p.Render(); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// TestTemplateLosesNoKey has templates without what there is no other copy of, or with
// something in its place.
func TestTemplateLosesNoKey(t *testing.T) {
	for text, lost := range map[string]string{
		"{{.Directives}}":                                                                  `it lacks "<ca>"`,
		"{{.Directives}}key {{.Name}}.key\n":                                               `it lacks "<ca>"`,
		"{{.Directives}}<cert>\nname\n</cert>\nkey {{.Name}}.key\n":                        `it lacks "<ca>"`,
		"{{.Directives}}{{slice .Credentials 0 (len .Directives)}}\nkey a.key\n":           "",
		"{{.Profile}}\nkey a.key\n":                                                        `a line "key a.key" that is not the profile's own`,
		"{{.Profile}}\nsetenv opt key a.key\n":                                             `a line "setenv opt key a.key" that is not the profile's own`,
		"{{.Profile}}<key>\nanother\n</key>\n":                                             `a line "<key>" that is not the profile's own`,
		"{{.Profile}}{{.Credentials}}":                                                     `it has "<ca>" more often than the profile`,
		"{{.Profile}}--<key>\nanother\n</key>\n":                                           `a line "<key>" that is not the profile's own`,
		"{{.Profile}}\npkcs12 a.p12\n":                                                     `a line "pkcs12 a.p12" that is not the profile's own`,
		"{{.Directives}}cert [inline]\nkey [inline]\nca [inline]\ntls-crypt-v2 [inline]\n": `a line "ca [inline]" that is not the profile's own`,
	} {
		if _, err := ParseTemplate(text, Inline, "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), lost) {
			t.Errorf("%q: error %v", text, err)
		}
	}
	// With files the names are what is to be there, and with --csr that of the key.
	p := example(t)
	var err error
	const files = "{{.Directives}}ca ca.crt\ncert {{.Name}}.crt\nkey {{.Name}}.key\ntls-crypt-v2 {{.Name}}.tls-crypt-v2.key\n"
	if p.Template, err = ParseTemplate(files, Files, "server"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.In(Files, ""); err != nil {
		t.Error(err)
	}
	if _, err := p.In(Inline, ""); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("inline: error %v", err)
	}
	p.Unwrapped = true
	if _, err := p.In(Files, ""); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("without the connections of a migration: error %v", err)
	}
	if _, err := ParseTemplate("{{.Directives}}key {{.Name}}.key\n", Files, "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), `it lacks "ca ca.crt"`) {
		t.Errorf("without ca and cert: error %v", err)
	}
}

// TestTemplateIsForAll has a template of which not everybody can be given a profile,
// and one of which everybody can.
func TestTemplateIsForAll(t *testing.T) {
	both, err := ParseTemplate("{{.Directives}}{{.Credentials}}dhcp-option DOMAIN example.com\n", Inline, "server")
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := ParseTemplate("{{.Profile}}http-proxy proxy 8080\n", Inline, "server")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		edit      func(*Profile)
		withProxy bool
	}{
		{func(*Profile) {}, false},
		{func(p *Profile) { p.Key = bundle.Secret{} }, false},
		{func(p *Profile) { p.Unwrapped = true }, false},
		{func(p *Profile) { p.Protocol = "tcp" }, true},
		{func(p *Profile) { p.Protocol, p.Unwrapped = "tcp", true }, true},
	} {
		p := example(t)
		c.edit(&p)
		p.Template = both
		if _, err := p.Render(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
		p.Template = proxy
		if _, err := p.Render(); (err == nil) != c.withProxy || err != nil && !strings.Contains(err.Error(), `OpenVPN 2.6 does not start with "http-proxy proxy 8080"`) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestTemplateStarts has lines with which OpenVPN does not start.
func TestTemplateStarts(t *testing.T) {
	for line, want := range map[string]string{
		"tls-auth ta.key 1": "with \"tls-auth ta.key 1\": a client takes one of it and tls-crypt-v2", "tls-crypt ta.key": "with \"tls-crypt ta.key\"",
		"keepalive 10": "with \"keepalive 10\": it takes 2 arguments and has 1", "script-security 3 system": "with \"script-security 3 system\": it takes 1 argument and has 2",
		"up /bin/true": "without script-security", "block-outside-dns": "with \"block-outside-dns\": it is for Windows: elsewhere OpenVPN does not start with it: write instead setenv opt block-outside-dns", "extra-certs [inline]": "it names a file that is called \"[inline]\"",
		"data-ciphers AES-256-GCM:NOSUCH": "OpenSSL 3 does not have all of it", "auth NOSUCH": "OpenSSL 3 does not have it", "cd C:\\x": "a backslash stands before what needs none",
		"no-replay": "OpenVPN 2.7 does not start with \"no-replay\": it takes away the protection from replayed packets: write instead nothing: leave it out", "max-routes-per-client 0": "OpenVPN 2.7 does not start with \"max-routes-per-client 0\"",
		"<connection>\nport 1\n</connection>": "there is no \"remote\" in it", "<connection>\nremote a\nverb 3\n</connection>": "OpenVPN does not take it in a <connection>",
	} {
		for _, form := range Forms() {
			if _, err := ParseTemplate("{{.Profile}}"+line+"\n", Form(form), "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q: error %v", form, line, err)
			}
		}
	}
	if _, err := ParseTemplate("client\nremote-cert-tls server\nverify-x509-name {{.ServerName}} name\n{{.Credentials}}", Inline, "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), "does not start without dev") {
		t.Errorf("without dev: error %v", err)
	}
	for _, line := range []string{"script-security 2\nup /bin/true", "setenv opt block-outside-dns", "ignore-unknown-option of-tomorrow\nof-tomorrow 1", "auth-user-pass", "<connection>\nremote a\n</connection>"} {
		if _, err := ParseTemplate("{{.Profile}}"+line+"\n", Inline, "server"); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestTemplateIsDoubted has lines that OpenVPN takes, and that should not be there.
func TestTemplateIsDoubted(t *testing.T) {
	for line, want := range map[string]string{
		"ns-cert-type server":       "write instead remote-cert-tls server",
		"comp-lzo":                  "compression leaks what is sent",
		"tls-cert-profile insecure": "write instead tls-cert-profile preferred",
		"setenv opt comp-lzo":       "compression leaks what is sent",
	} {
		for _, form := range Forms() {
			made, err := ParseTemplate("{{.Profile}}"+line+"\n", Form(form), "server")
			if err != nil {
				t.Fatal(err)
			}
			if len(made.Doubtful) != 1 || !strings.HasPrefix(made.Doubtful[0], strconv.Quote(line)+": ") || !strings.Contains(made.Doubtful[0], want) {
				t.Errorf("%s: %q: %q", form, line, made.Doubtful)
			}
		}
	}
	for _, line := range []string{"", "dhcp-option DOMAIN example.com", "script-security 2\nup /bin/true", "auth-user-pass"} {
		made, err := ParseTemplate("{{.Profile}}"+line+"\n", Inline, "server")
		if err != nil {
			t.Fatal(err)
		}
		if len(made.Doubtful) > 0 {
			t.Errorf("%q: %q", line, made.Doubtful)
		}
	}
}

// TestTemplateKeepsTheGatewayApart has lines with which OpenVPN takes another
// person, or another CA's, for the gateway.
func TestTemplateKeepsTheGatewayApart(t *testing.T) {
	for _, line := range []string{
		"setenv opt verify-x509-name evil name", "setenv opt remote-cert-tls client", "remote-cert-tls client", "setenv  \"opt\" verify-x509-name evil name",
		`setenv "opt"verify-x509-name evil name`, "verify-x509-name\vevil name", "setenv\fopt\vremote-cert-tls client", "--verify-x509-name evil name", `'verify-x509-name'"evil"name`,
		"remote-cert-eku \"TLS Web Client Authentication\"", "setenv opt remote-cert-eku \"TLS Web Client Authentication\"", "remote-cert-ku 80", "x509-username-field OU",
		"config evil.conf", "capath /tmp", "cd /tmp", "chroot /tmp", "peer-fingerprint 00:11", "<peer-fingerprint>\n00:11\n</peer-fingerprint>",
		// What OpenVPN takes for the end of what lies inline, and us for something in it.
		"<extra-certs>\n" + strings.Repeat("x", 255) + "</extra-certs>\nverify-x509-name evil name\n<extra-certs>\n</extra-certs>",
		"<extra-certs>\n</extra-certs>" + strings.Repeat("x", 255-len("</extra-certs>")) + "verify-x509-name evil name",
	} {
		for _, form := range Forms() {
			if _, err := ParseTemplate("{{.Profile}}\n"+line+"\n", Form(form), "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), "could pose as the gateway") {
				t.Errorf("%s: %q: error %v", form, line, err)
			}
		}
	}
	for _, line := range []string{"ca evil.crt", "<ca>\nevil\n</ca>", "--ca evil.crt", "setenv opt ca evil.crt", "<tls-crypt-v2>\nevil\n</tls-crypt-v2>", "<connection>\nremote a\n<tls-crypt-v2>\nevil\n</tls-crypt-v2>\n</connection>", "<pkcs12>\nevil\n</pkcs12>"} {
		for _, form := range Forms() {
			if _, err := ParseTemplate("{{.Profile}}\n"+line+"\n", Form(form), "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), "that is not the profile's own") {
				t.Errorf("%s: %q: error %v", form, line, err)
			}
		}
	}
	// What hides the lines that are needed.
	for _, text := range []string{
		"ignore-unknown-option /ca\n</ca>\n{{.Directives}}<//ca>\n{{.Credentials}}", "ignore-unknown-option x\n--<x>\n{{.Directives}}</x>\n{{.Credentials}}",
	} {
		if _, err := ParseTemplate(text, Inline, "server"); !errors.Is(err, ErrNoTemplate) || !strings.Contains(err.Error(), "could pose as the gateway") {
			t.Errorf("%q: error %v", text, err)
		}
	}
	if _, err := ParseTemplate("{{.Profile}}\nsetenv opt of-tomorrow 1\nsetenv FRIENDLY name\n", Inline, "server"); err != nil {
		t.Error(err)
	}
}

func TestParseRemote(t *testing.T) {
	for text, want := range map[string]Remote{
		"vpn.example.com":                     {"vpn.example.com", 1194},
		"vpn.example.com:443":                 {"vpn.example.com", 443},
		"203.0.113.10":                        {"203.0.113.10", 1194},
		"gateway_1":                           {"gateway_1", 1194},
		strings.Repeat("a.", 120) + "b:65535": {strings.Repeat("a.", 120) + "b", 65535}, // what fits into a line of OpenVPN's
	} {
		if got, err := ParseRemote(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ":1194", "a:", "a:0", "a:65536", "a:-1", "a b", "a\n", "-a", "a-", "a..b", "1.2.3", "1.2.3.4.5", "256.1.1.1", "010.0.0.1", "2001:db8::1", "[::1]:1194", "a/b", strings.Repeat("a", 64), strings.Repeat("a.", 120) + "bc"} {
		if got, err := ParseRemote(text); err == nil {
			t.Errorf("%q passes as %v", text, got)
		}
	}
}

func TestParseKnock(t *testing.T) {
	p := example(t)
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	knock, err := ParseKnock(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Door{{p.Remotes[0], "udp"}, {p.Remotes[1], "udp"}}, knock.Doors); diff != "" {
		t.Error(diff)
	}
	crypt := "<tls-crypt-v2>\n" + string(p.TLSCryptV2.Reveal()) + "</tls-crypt-v2>\n"
	for name, c := range map[string]struct {
		text string
		want []Door
	}{
		"defaults":        {"remote a\n", []Door{{Remote{"a", 1194}, "udp"}}},
		"port and proto":  {"port 443\nproto tcp-client\nremote a\n", []Door{{Remote{"a", 443}, "tcp"}}},
		"on the line":     {"proto udp\nremote a 443 tcp4-client\n", []Door{{Remote{"a", 443}, "tcp"}}},
		"in a connection": {"<connection>\nremote a 443 tcp\n</connection>\n<connection>\nremote b\n</connection>\n", []Door{{Remote{"a", 443}, "tcp"}, {Remote{"b", 1194}, "udp"}}},
		"port and proto in a connection": {"port 443\nproto tcp\n<connection>\nremote a\nport 500\nproto udp\n</connection>\n<connection>\nport 501\nremote b\n</connection>\n<connection>\nremote c\n</connection>\n",
			[]Door{{Remote{"a", 500}, "udp"}, {Remote{"b", 501}, "tcp"}, {Remote{"c", 443}, "tcp"}}},
		"port behind a connection":  {"<connection>\nremote a\n</connection>\nport 443\n", []Door{{Remote{"a", 1194}, "udp"}}},
		"port behind a remote":      {"remote a\nremote b 80\nport 443\n", []Door{{Remote{"a", 443}, "udp"}, {Remote{"b", 80}, "udp"}}},
		"remote beside connections": {"remote x\n<connection>\nremote a 1\nremote b\n</connection>\n", []Door{{Remote{"b", 1}, "udp"}}},
		"an apostrophe":             {"setenv UV_NAME O'Brien\nremote a\n", []Door{{Remote{"a", 1194}, "udp"}}},
		"comments":                  {"# remote x\n; remote y\nremote a # here\n<ca>\nremote z\n</ca>\n", []Door{{Remote{"a", 1194}, "udp"}}},
		"optional":                  {"setenv opt remote a 443\nsetenv opt proto tcp\n", []Door{{Remote{"a", 443}, "tcp"}}},
		"quoted":                    {"remote \"a\" '443'\r\n", []Door{{Remote{"a", 443}, "udp"}}},
	} {
		knock, err := ParseKnock([]byte(c.text + crypt))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, knock.Doors); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {"", "no <tls-crypt-v2> block"},
		"no remote":   {crypt, "no \"remote\""},
		"bad remote":  {"remote a b\n" + crypt, "has the port \"b\""},
		"bad proto":   {"proto sctp\nremote a\n" + crypt, "the protocol \"sctp\""},
		"key file":    {"remote a\ntls-crypt-v2 x.key\n", "in the file \"x.key\""},
		"cut":         {"remote a\n" + crypt[:100], "has no end </tls-crypt-v2>"},
		"broken key":  {"remote a\n<tls-crypt-v2>\nAAAA\n</tls-crypt-v2>\n", "reading <tls-crypt-v2>: there is no PEM"},
		"far too big": {strings.Repeat("#\n", directives.MaxBytes), "is the limit"},
	} {
		if _, err := ParseKnock([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseKnock(f *testing.F) {
	text, err := example(f).Render()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("<connection>\nremote a 1 tcp\n</connection>\nport 2\nproto udp6\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		knock, err := ParseKnock(text)
		if err != nil {
			return
		}
		if len(knock.Doors) == 0 {
			t.Fatal("opened without a remote")
		}
		for _, door := range knock.Doors {
			if door.Port == 0 || door.Host == "" || strings.ContainsAny(door.Host, " \n") {
				t.Fatalf("a door of %+v", door)
			}
		}
	})
}

func FuzzParseRemote(f *testing.F) {
	f.Add("vpn.example.com:1194")
	f.Fuzz(func(t *testing.T, s string) {
		remote, err := ParseRemote(s)
		if err != nil {
			return
		}
		if again, err := ParseRemote(remote.String()); err != nil || again != remote {
			t.Fatalf("%q is read as %v, and that as %v: %v", s, remote, again, err)
		}
	})
}
