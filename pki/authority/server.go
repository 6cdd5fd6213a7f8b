// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// serverFile is the path of one of the gateway's files, within the folder.
func serverFile(number int, name string) string {
	return filepath.Join("server", strconv.Itoa(number), name)
}

// Server reads what the gateway gets, and refuses what it would not take; beside the
// error there is what could be read. The generation is the publisher's to set.
func (f Folder) Server() (bundle.Server, error) {
	server := bundle.Server{Authority: f.mark.Name, CA: f.cas, Wrapping: f.mark.Wrapping}
	// Without this one the rest cannot be made anew.
	if _, err := f.Wrapper(); err != nil {
		return server, err
	}
	const anew = "make the gateway's certificates and keys anew with \"vpnami-pki renew-server\", or put the file back from your newest copy of the folder"
	failed := func(err error) (bundle.Server, error) {
		return server, fmt.Errorf("reading what the gateway gets: %w: %s", err, anew)
	}
	var err error
	if server.Certificate, err = f.certificate(serverFile(f.mark.Server, "server.crt")); err != nil {
		return failed(err)
	}
	if server.Probe.Certificate, err = f.certificate(serverFile(f.mark.Server, "probe.crt")); err != nil {
		return failed(err)
	}
	for name, into := range map[string]*bundle.Secret{
		"server.key": &server.Key, "tls-crypt-v2.key": &server.TLSCryptV2,
		"probe.key": &server.Probe.Key, "probe-tls-crypt-v2.key": &server.Probe.TLSCryptV2,
	} {
		raw, err := os.ReadFile(f.at(serverFile(f.mark.Server, name)))
		if err != nil {
			return failed(err)
		}
		*into = bundle.NewSecret(raw)
	}
	if err := server.Check(); err != nil {
		return failed(fmt.Errorf("of what is in %q: %w", f.at("server", strconv.Itoa(f.mark.Server)), err))
	}
	return server, nil
}

// made is a certificate of the gateway, and how the log tells of it.
type made struct {
	certificate *x509.Certificate
	action      string
}

// The actions by which the log tells of them.
const (
	loggedServer = "issue-server"
	loggedProbe  = "issue-probe"
)

// serverFiles makes what the gateway gets, with a new certificate and a new
// probe, as files within the folder.
func serverFiles(issuer Issuer, m mark, wrapper tlscrypt.ServerKey) ([]NewFile, []made, error) {
	server, err := issuer.server(m.ServerName, m.ServerSANs)
	if err != nil {
		return nil, nil, err
	}
	probe, err := issuer.probe()
	if err != nil {
		return nil, nil, err
	}
	crypt, err := wrapper.NewClientKey(rand.Reader, issuer.now)
	if err != nil {
		return nil, nil, err
	}
	at := func(name string) string { return serverFile(m.Server, name) }
	return []NewFile{
		{at("server.crt"), publicFile, bundle.CertificatesPEM(server.Certificate)},
		{at("server.key"), privateFile, server.Key.Reveal()},
		{at("tls-crypt-v2.key"), privateFile, wrapper.PEM()},
		{at("probe.crt"), publicFile, bundle.CertificatesPEM(probe.Certificate)},
		{at("probe.key"), privateFile, probe.Key.Reveal()},
		{at("probe-tls-crypt-v2.key"), privateFile, crypt.PEM()},
	}, []made{{server.Certificate, loggedServer}, {probe.Certificate, loggedProbe}}, nil
}
