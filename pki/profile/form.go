// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Form is how a profile lies on disk.
type Form string

// The forms there are.
const (
	Inline      Form = "ovpn"  // NAME.ovpn with everything in it
	Tunnelblick Form = "tblk"  // NAME.tblk, a folder that macOS shows as one file
	PKCS12      Form = "p12"   // NAME.ovpn and NAME.p12, which has certificates and key under a password
	Files       Form = "files" // NAME, a folder with NAME.ovpn and each of the rest as a file
)

// Forms are the names of the forms, the default first.
func Forms() []string {
	return []string{string(Inline), string(Tunnelblick), string(PKCS12), string(Files)}
}

// Paths are what a person's profile takes in a folder: files, or a folder.
func (f Form) Paths(name string) []string {
	switch f {
	case Tunnelblick:
		return []string{name + ".tblk"}
	case PKCS12:
		return []string{name + ".ovpn", name + ".p12"}
	case Files:
		return []string{name}
	case Inline:
	}
	return []string{name + ".ovpn"}
}

// File is a file of a profile.
type File struct {
	Path string // within the folder for profiles
	Data []byte
}

// Laid are the files of a profile in a form.
type Laid struct {
	Folder string // that holds them and nothing else; empty when they lie beside others
	Files  []File
}

// Format keeps what is in the files out of whatever is printed.
func (l Laid) Format(state fmt.State, _ rune) { _, _ = fmt.Fprintf(state, "%d files", len(l.Files)) }

// In lays the profile out in a form. The password is that of a .p12.
func (p Profile) In(form Form, password string) (Laid, error) {
	switch form {
	case Inline, Tunnelblick:
		text, err := p.Render()
		if err != nil {
			return Laid{}, err
		}
		if form == Inline {
			return Laid{Files: []File{{Inline.Text(p.Name), text}}}, nil
		}
		// Flat, with one configuration: it gets the folder's name.
		// https://tunnelblick.net/cPkgs.html
		return Laid{Folder: p.Name + ".tblk", Files: []File{{Tunnelblick.Text(p.Name), text}}}, nil
	case PKCS12:
		return p.inPKCS12(password)
	case Files:
		return p.inFiles()
	}
	return Laid{}, fmt.Errorf("writing the profile of %q: the form %q is not known", p.Name, string(form))
}

func (p Profile) inPKCS12(password string) (Laid, error) {
	if p.Key.IsZero() {
		return Laid{}, fmt.Errorf("writing the profile of %q: a .p12 holds the key, which is not here", p.Name)
	}
	block, _ := pem.Decode(p.Key.Reveal())
	if block == nil {
		return Laid{}, fmt.Errorf("writing the profile of %q: its key is no PEM", p.Name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Laid{}, fmt.Errorf("writing the profile of %q: reading its key: %w", p.Name, err)
	}
	// AES and PBKDF2, which OpenSSL reads from 1.1.1 on; the older form, which
	// OpenSSL 3 refuses, is RC2.
	packed, err := pkcs12.Modern2023.Encode(key, p.Certificate, p.CA, password)
	if err != nil {
		return Laid{}, fmt.Errorf("writing the profile of %q: packing its certificates and key: %w", p.Name, err)
	}
	text, err := p.render(PKCS12.placed(p.Name))
	return Laid{Files: []File{{PKCS12.Text(p.Name), text}, {p.Name + ".p12", packed}}}, err
}

func (p Profile) inFiles() (Laid, error) {
	at := Files.placed(p.Name)
	text, err := p.render(at)
	if err != nil {
		return Laid{}, err
	}
	in := func(name string) string { return filepath.Join(p.Name, name) }
	laid := Laid{Folder: p.Name, Files: []File{
		{Files.Text(p.Name), text},
		{in(at["ca"]), bundle.CertificatesPEM(p.CA...)},
		{in(at["cert"]), bundle.CertificatesPEM(p.Certificate)},
		{in(at["tls-crypt-v2"]), p.TLSCryptV2.Reveal()},
	}}
	if !p.Key.IsZero() {
		laid.Files = append(laid.Files, File{in(at["key"]), p.Key.Reveal()})
	}
	return laid, nil
}

// authorityFile is the name of the file with the CAs, beside those of a person
// who may be called "ca".
func authorityFile(name string) string {
	if strings.EqualFold(name, "ca") {
		return "authority.crt"
	}
	return "ca.crt"
}

// placed are the files in which what a directive wants is, by directive; the
// rest is inline.
type placed map[string]string

// placed are those of a form.
func (f Form) placed(name string) placed {
	switch f {
	case PKCS12:
		return placed{"pkcs12": name + ".p12"}
	case Files:
		return placed{"ca": authorityFile(name), "cert": name + ".crt", "key": name + ".key", "tls-crypt-v2": name + ".tls-crypt-v2.key"}
	case Inline, Tunnelblick:
	}
	return nil
}

// credentials writes what proves who the person is.
func (p Profile) credentials(out *bytes.Buffer, at placed) {
	put := func(directive string, text []byte) {
		if file, apart := at[directive]; apart {
			fmt.Fprintf(out, "%s %s\n", directive, file)
			return
		}
		fmt.Fprintf(out, "<%s>\n%s\n</%s>\n", directive, bytes.TrimRight(text, "\n"), directive)
	}
	if file, packed := at["pkcs12"]; packed {
		fmt.Fprintf(out, "pkcs12 %s\n", file)
	} else {
		put("ca", bundle.CertificatesPEM(p.CA...))
		put("cert", bundle.CertificatesPEM(p.Certificate))
		if p.Key.IsZero() {
			// The key was made on the person's own machine and stays there.
			fmt.Fprintf(out, "key %s.key\n", p.Name)
		} else {
			put("key", p.Key.Reveal())
		}
	}
	if !p.Unwrapped {
		put("tls-crypt-v2", p.TLSCryptV2.Reveal())
		return
	}
	// Each gateway with the key and, while none answers so, without: one that
	// has opened its window for old profiles takes no key.
	fmt.Fprintf(out, "connect-timeout %d\n", nextAfter)
	for _, remote := range p.Remotes {
		fmt.Fprintf(out, "<connection>\nremote %s %d\n", remote.Host, remote.Port)
		put("tls-crypt-v2", p.TLSCryptV2.Reveal())
		fmt.Fprintf(out, "</connection>\n<connection>\nremote %s %d\n</connection>\n", remote.Host, remote.Port)
	}
}

// nextAfter is when the next of several gateways is tried, in seconds: five
// times the slowest round trips there are.
const nextAfter = 8

// ErrNoTemplate is that a template does not give a profile.
var ErrNoTemplate = errors.New("the template does not give a profile")
