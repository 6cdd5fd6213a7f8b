// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// serverFile is the path of one of the gateway's files, within the folder.
func serverFile(number int, name string) string {
	return filepath.Join("server", strconv.Itoa(number), name)
}

// Server reads what the gateway gets. The generation is the publisher's to
// set.
func (f Folder) Server() (bundle.Server, error) {
	server := bundle.Server{Authority: f.mark.Name, CA: f.cas}
	var err error
	if server.Certificate, err = f.certificate(serverFile(f.mark.Server, "server.crt")); err != nil {
		return bundle.Server{}, err
	}
	if server.Probe.Certificate, err = f.certificate(serverFile(f.mark.Server, "probe.crt")); err != nil {
		return bundle.Server{}, err
	}
	for name, into := range map[string]*bundle.Secret{
		"server.key": &server.Key, "tls-crypt-v2.key": &server.TLSCryptV2,
		"probe.key": &server.Probe.Key, "probe-tls-crypt-v2.key": &server.Probe.TLSCryptV2,
	} {
		raw, err := os.ReadFile(f.at(serverFile(f.mark.Server, name)))
		if err != nil {
			return bundle.Server{}, fmt.Errorf("reading the server's keys: %w", err)
		}
		*into = bundle.NewSecret(raw)
	}
	return server, nil
}
