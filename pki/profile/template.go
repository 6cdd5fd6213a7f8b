// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
)

// Template is an operator's own form of the text of profiles: a text/template
// over [Fields].
type Template struct{ parsed *template.Template }

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

// ParseTemplate reads a template for profiles of a form and tries it, so that what
// is wrong with it is known before anything is issued.
func ParseTemplate(text string, form Form) (*Template, error) {
	parsed, err := template.New("template").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	t := &Template{parsed}
	const kept = "remote-cert-tls server\nverify-x509-name server name\n"
	key, inline := "key name.key\n", []block(nil) // a person may keep the key, and nothing else, in each form
	if form == Inline || form == Tunnelblick {
		inline = []block{{"cert", "<cert>\nname\n</cert>\n"}}
		key = inline[0].text + key
	}
	tried, err := t.render(Fields{
		Profile: kept + key, Directives: kept, Credentials: key, Name: "name", Authority: "authority", ServerName: "server", Protocol: "udp",
		Remotes: []Remote{{"vpn.example.com", DefaultPort}}, Serial: "1", NotAfter: "2027-11-24",
	}, inline)
	if err != nil {
		return nil, err
	}
	return t, checkStarts(tried)
}

// checkStarts refuses a text with which OpenVPN does not start, unless the text
// itself says that what is unknown may be passed over.
func checkStarts(text []byte) error {
	lines, err := directives.Parse(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	var passedOver []string
	for _, l := range lines {
		if l.Name == "ignore-unknown-option" {
			passedOver = append(passedOver, l.Args...)
		}
	}
	findings := directives.Lint(lines) // of each line, and then of what is missing
	for i, l := range lines {
		found := findings[i]
		unknown := found.On26 == directives.Unknown && !slices.Contains(passedOver, l.Name)
		if unknown || found.On26 == directives.Fatal {
			return fmt.Errorf("%w: OpenVPN 2.6 does not start with %q: %s", ErrNoTemplate, found.Directive, found.Why)
		}
	}
	return nil
}

// render refuses a result without the directives for want of which a client
// takes any holder of a certificate for the gateway, and one without the key,
// of which there is no other copy, or what else is to be inline.
func (t *Template) render(fields Fields, inline []block) ([]byte, error) {
	var out bytes.Buffer
	if err := t.parsed.Execute(&out, fields); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	lines, err := directives.Parse(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTemplate, err)
	}
	// The last of several counts for OpenVPN, so all must be right.
	for _, needed := range []directives.Line{{Name: "remote-cert-tls", Args: []string{"server"}}, {Name: "verify-x509-name", Args: []string{fields.ServerName, "name"}}} {
		same := func(l directives.Line) bool { return l.Name == needed.Name }
		other := func(l directives.Line) bool { return same(l) && !slices.Equal(l.Args, needed.Args) }
		if !slices.ContainsFunc(lines, same) || slices.ContainsFunc(lines, other) {
			return nil, fmt.Errorf("%w: it has no line %q, without which another person's certificate could pose as the gateway, or another beside it: keep {{.Profile}} or {{.Directives}} in it", ErrNoTemplate, needed.String())
		}
	}
	for _, l := range lines {
		// The first two take the place of what remote-cert-tls asks for, the third of
		// the name that verify-x509-name looks at.
		if slices.Contains([]string{"remote-cert-eku", "remote-cert-ku", "x509-username-field"}, l.Name) {
			return nil, fmt.Errorf("%w: it has a line %q, with which another person's certificate could pose as the gateway: leave it out", ErrNoTemplate, l.String())
		}
	}
	if !slices.ContainsFunc(lines, func(l directives.Line) bool { return l.Name == "key" || l.Name == "pkcs12" }) {
		return nil, fmt.Errorf("%w: the person's key is not in it, nor the name of its file: keep {{.Profile}} or {{.Credentials}} in it", ErrNoTemplate)
	}
	for _, b := range inline {
		if !strings.Contains(out.String(), b.text) {
			return nil, fmt.Errorf("%w: <%s> is not in it, and would be nowhere else: keep {{.Profile}} or {{.Credentials}} in it", ErrNoTemplate, b.directive)
		}
		for _, l := range lines {
			if l.Name == b.directive && !slices.Equal(l.Args, []string{"[inline]"}) {
				return nil, fmt.Errorf("%w: it has a line %q beside <%s>, which would count in its place: leave it out", ErrNoTemplate, l.String(), b.directive)
			}
		}
	}
	return out.Bytes(), nil
}

func (p Profile) fields(directives, credentials string) Fields {
	return Fields{
		Profile: directives + credentials, Directives: directives, Credentials: credentials,
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
