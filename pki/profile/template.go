// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
)

// Template is an operator's own form of the text of profiles: a text/template
// over [Fields].
type Template struct {
	parsed *template.Template
	// Doubtful are directives of it that OpenVPN takes, and that should not be there,
	// with why.
	Doubtful []string
}

// Fields are what a template can name.
type Fields struct {
	Profile     string // the whole text as it is without a template
	Directives  string // the same without certificates and keys
	Credentials string // certificates and keys, inline or by their files
	Name        string
	Authority   string
	ServerName  string
	Protocol    string // udp or tcp
	Remotes     []Remote
	Serial      string
	NotAfter    string // 2027-11-24
}

// ParseTemplate reads a template for profiles of a form and a server, whose name may be
// spelt out in it, and tries it, so that what is wrong with it is known before anything
// is issued. Who gets one, over which protocol, and whether they keep their key, is not
// known here: one of all these must be given a profile, and each is looked at again
// when it is written.
func ParseTemplate(text string, form Form, serverName string) (*Template, error) {
	parsed, err := template.New("template").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	t := &Template{parsed: parsed}
	var first error
	for _, sample := range samples(serverName) {
		text, err := t.render(sample.fields(form.placed(sample.Name)))
		if err == nil {
			t.Doubtful = doubtful(text)
			return t, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

// samples are profiles of nobody.
func samples(serverName string) []Profile {
	p := Profile{
		Name: "name", Authority: "authority", ServerName: serverName, Remotes: []Remote{{"vpn.example.com", DefaultPort}}, CA: []*x509.Certificate{{Raw: []byte("ca")}},
		Certificate: &x509.Certificate{Raw: []byte("certificate"), SerialNumber: big.NewInt(1), NotAfter: time.Date(2027, 11, 24, 0, 0, 0, 0, time.UTC)},
		TLSCryptV2:  bundle.NewSecret([]byte("tls-crypt-v2\n")),
	}
	var all []Profile
	for _, protocol := range Protocols() {
		for _, key := range []bundle.Secret{bundle.NewSecret([]byte("key\n")), {}} {
			p.Protocol, p.Key = protocol, key
			all = append(all, p)
		}
	}
	return all
}

// checkStarts refuses lines with which OpenVPN does not start: it is not known which one
// a person has.
func checkStarts(lines []directives.Line) error {
	for _, found := range directives.Lint(lines) {
		version := "2.7"
		switch {
		case found.On26 == directives.Unknown || found.On26 == directives.Fatal:
			version = "2.6"
		case found.On27 != directives.Fatal:
			continue
		}
		lacking, word := "with", strconv.Quote(found.Directive)
		if found.Line == 0 {
			lacking, word = "without", strings.TrimPrefix(found.Directive, "no ")
		}
		instead := ""
		if found.Instead != "" {
			instead = ": write instead " + found.Instead
		}
		return fmt.Errorf("%w: OpenVPN %s does not start %s %s: %s%s", ErrNoTemplate, version, lacking, word, found.Why, instead)
	}
	return nil
}

// doubtful is what lint would have written otherwise in a text that OpenVPN takes.
func doubtful(text []byte) []string {
	lines, err := directives.Parse(text)
	if err != nil {
		return nil
	}
	var doubts []string
	for _, found := range directives.Lint(lines) {
		if found.Line > 0 && found.Instead != "" {
			doubts = append(doubts, fmt.Sprintf("%q: %s: write instead %s", found.Directive, found.Why, found.Instead))
		}
	}
	return doubts
}

// render refuses a result with which OpenVPN does not start, one with which a client
// takes somebody else for the gateway, and one without the key, of which there is no
// other copy.
func (t *Template) render(fields Fields) ([]byte, error) {
	var out bytes.Buffer
	if err := t.parsed.Execute(&out, fields); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	lines, err := directives.Parse(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	own, err := directives.Parse([]byte(fields.Profile))
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(checkGateway(lines, fields.ServerName), checkProofs(lines, own)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	if err := checkStarts(lines); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// checkGateway refuses lines with which a client takes the holder of another
// certificate for the gateway.
func checkGateway(lines []directives.Line, serverName string) error {
	// The last of several counts for OpenVPN, so all must be right.
	for _, needed := range []directives.Line{{Name: "remote-cert-tls", Args: []string{"server"}}, {Name: "verify-x509-name", Args: []string{serverName, "name"}}} {
		same := func(l directives.Line) bool { return l.Name == needed.Name }
		other := func(l directives.Line) bool { return same(l) && !l.Same(needed) }
		if !slices.ContainsFunc(lines, same) || slices.ContainsFunc(lines, other) {
			return fmt.Errorf("it has no line %q, without which another person's certificate could pose as the gateway, or another beside it: keep {{.Profile}} or {{.Directives}} in it", needed.String())
		}
	}
	against := []string{
		"remote-cert-eku", "remote-cert-ku", // in the place of what remote-cert-tls asks for
		"x509-username-field",    // in the place of the name that verify-x509-name looks at
		"capath",                 // more CAs
		"peer-fingerprint",       // in the place of the CA, where that is in a .p12
		"config", "cd", "chroot", // other files
	}
	for _, l := range lines {
		if slices.Contains(against, l.Name) {
			return fmt.Errorf("it has a line %q, with which another person's certificate could pose as the gateway: leave it out", l.String())
		}
	}
	return nil
}

// checkProofs has what proves who the person and who the gateway is be the profile's
// own, all of it and nothing else: OpenVPN heeds the last of several.
func checkProofs(lines, own []directives.Line) error {
	for _, name := range []string{"ca", "cert", "key", "pkcs12", "tls-crypt-v2"} {
		named := func(lines []directives.Line) []directives.Line {
			return slices.DeleteFunc(slices.Clone(lines), func(l directives.Line) bool { return l.Name != name })
		}
		same := func(a, b directives.Line) bool { return a.Same(b) && (a.Connection > 0) == (b.Connection > 0) }
		there, needed := named(lines), named(own)
		for _, l := range there {
			if !slices.ContainsFunc(needed, func(n directives.Line) bool { return same(l, n) }) {
				return fmt.Errorf("it has a line %q that is not the profile's own, and would count in its place: leave it out", l.String())
			}
		}
		switch {
		case len(there) > len(needed):
			return fmt.Errorf("it has %q more often than the profile: leave all but one out", there[0].String())
		case !slices.EqualFunc(there, needed, same):
			return fmt.Errorf("it lacks %q, which would be nowhere else: keep {{.Profile}} or {{.Credentials}} in it", needed[0].String())
		}
	}
	return nil
}

// fields are what a template can name of a profile whose files are apart.
func (p Profile) fields(at placed) Fields {
	var directives, credentials bytes.Buffer
	p.directives(&directives, at)
	p.credentials(&credentials, at)
	return Fields{
		Profile: directives.String() + credentials.String(), Directives: directives.String(), Credentials: credentials.String(),
		Name: p.Name, Authority: p.Authority, ServerName: p.ServerName, Protocol: p.Protocol, Remotes: p.Remotes,
		Serial: p.Certificate.SerialNumber.String(), NotAfter: p.Certificate.NotAfter.UTC().Format(time.DateOnly),
	}
}

// checkNames refuses what is not of the safe alphabet: a line break in a name
// would be a directive.
func (p Profile) checkNames() error {
	for _, name := range []string{p.Name, p.Authority, p.ServerName} {
		if err := bundle.CheckName(name); err != nil {
			return fmt.Errorf("writing the profile of %q: %w", p.Name, err)
		}
	}
	return nil
}
