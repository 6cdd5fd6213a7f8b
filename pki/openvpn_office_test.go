// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
)

// office is an authority with one client and its server's and probe's pairs.
type office struct {
	folder authority.Folder
	client authority.Client
	server authority.Pair
	probe  authority.Client
}

func newOffice(t *testing.T, name string) office {
	t.Helper()
	return newOfficeOf(t, name, authority.ECDSAP256, "client1")
}

func newOfficeOf(t *testing.T, name string, kind authority.KeyType, person string) office {
	t.Helper()
	now := time.Now()
	passphrase := []byte("correct horse")
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), name), Name: name, ServerName: "vpn.example.com"}, authority.UnderPassphrase{Type: kind, Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := folder.Unlock(authority.Keys{Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := issuer.Issue(authority.Person{Name: person}, wrapper, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := folder.Server()
	if err != nil {
		t.Fatal(err)
	}
	return office{
		folder: folder, client: client,
		server: authority.Pair{Certificate: contents.Certificate, Key: contents.Key},
		probe: authority.Client{Person: authority.Person{Name: "vpnami-probe"}, TLSCryptV2: contents.Probe.TLSCryptV2,
			Pair: authority.Pair{Certificate: contents.Probe.Certificate, Key: contents.Probe.Key}},
	}
}

// profile writes a profile for client1 or the probe, after an edit.
func (o office) profile(t *testing.T, who, protocol string, edit func(*profile.Profile)) string {
	t.Helper()
	client := o.client
	if who == "probe" {
		client = o.probe
	}
	p := profile.Profile{
		Name: client.Name, Authority: o.folder.Name(), ServerName: o.folder.ServerName(), Protocol: protocol,
		Remotes: []profile.Remote{{Host: "127.0.0.1", Port: port}}, CA: []*x509.Certificate{o.folder.CA()},
		Certificate: client.Pair.Certificate, Key: client.Pair.Key, TLSCryptV2: client.TLSCryptV2,
	}
	if edit != nil {
		edit(&p)
	}
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), who+".ovpn")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (o office) serve(t *testing.T, protocol, cookie string) *running {
	t.Helper()
	return o.serveAs(t, protocol, cookie, o.server)
}

// serveAs starts a server with today's directives. Addresses and routes are
// left alone: both ends are in one namespace.
func (o office) serveAs(t *testing.T, protocol, cookie string, pair authority.Pair) *running {
	t.Helper()
	r := start(t, o.configuration(t, protocol, cookie, pair))
	r.waitFor(t, "Initialization Sequence Completed")
	return r
}

func (o office) configuration(t *testing.T, protocol, cookie string, pair authority.Pair) string {
	t.Helper()
	folder := t.TempDir()
	key := filepath.Join(folder, "server.key")
	if err := os.WriteFile(key, pair.Key.Reveal(), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate := filepath.Join(folder, "server.crt")
	if err := os.WriteFile(certificate, bundle.CertificatesPEM(pair.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	server := "udp4"
	if protocol == "tcp" {
		server = "tcp4-server"
	}
	text := fmt.Sprintf("port %d\nproto %s\ndev tun0\ndev-type tun\nifconfig-noexec\nroute-noexec\ntopology subnet\nserver 10.8.0.0 255.255.255.0\n"+
		"ca %s\ncert %s\nkey %s\ndh none\ntls-version-min 1.2\ntls-cert-profile preferred\nremote-cert-tls client\nverify-client-cert require\n"+
		"tls-crypt-v2 %s %s\ndata-ciphers AES-256-GCM\ncrl-verify %s\nkeepalive 10 60\nverb 3\n",
		port, server, filepath.Join(o.folder.Path(), "ca", "1", "ca.crt"), certificate, key,
		filepath.Join(o.folder.Path(), "server", "1", "tls-crypt-v2.key"), cookie, filepath.Join(o.folder.Path(), "ca", "1", "crl.pem"))
	path := filepath.Join(folder, "server.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// unwrapped is the server's configuration while the window for old profiles is
// open.
func (o office) unwrapped(t *testing.T) string {
	t.Helper()
	path := o.configuration(t, "udp", "force-cookie", o.server)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile("(?m)^tls-crypt-v2 .*$").ReplaceAll(text, []byte("compress migrate"))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (o office) connects(t *testing.T, server *running, who, protocol string) {
	t.Helper()
	client := start(t, o.profile(t, who, protocol, nil))
	client.waitFor(t, "Initialization Sequence Completed")
	name := o.client.Name
	if who == "probe" {
		name = o.probe.Name
	}
	server.waitFor(t, "["+name+"] Peer Connection Initiated")
	client.complainsOfNothing(t)
}

// laid writes client1's profile in a form, and returns the path for OpenVPN.
func (o office) laid(t *testing.T, form profile.Form) string {
	t.Helper()
	const password = "battery staple"
	laid, err := profile.Profile{
		Name: o.client.Name, Authority: o.folder.Name(), ServerName: o.folder.ServerName(), Protocol: "udp",
		Remotes: []profile.Remote{{Host: "127.0.0.1", Port: port}}, CA: []*x509.Certificate{o.folder.CA()},
		Certificate: o.client.Pair.Certificate, Key: o.client.Pair.Key, TLSCryptV2: o.client.TLSCryptV2,
	}.In(form, password)
	if err != nil {
		t.Fatal(err)
	}
	out, configuration := t.TempDir(), ""
	for _, file := range laid.Files {
		path := filepath.Join(out, file.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(path) == ".ovpn" {
			configuration = path
			if form == profile.PKCS12 {
				file.Data = append(file.Data, "askpass password\n"...)
			}
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(configuration), "password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return configuration
}
