// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// ParseRequest reads a certificate request (PKCS#10, PEM) for a person. Of it
// only the key counts; but a name of somebody else in it is a mistake, and
// refused.
func ParseRequest(text []byte, name string) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not the PEM of one certificate request: make one with \"openssl req -new\"")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is no certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("it is not signed with its own key: %w", err)
	}
	if cn := request.Subject.CommonName; cn != "" && cn != name {
		return nil, fmt.Errorf("it is of %+q, not of %q: issue to that name, or let the request have no name", cn, name)
	}
	if err := bundle.CheckKey(request.PublicKey); err != nil {
		return nil, fmt.Errorf("its key is not taken: %w", err)
	}
	return request.PublicKey, nil
}

// CheckRequestKey refuses a key that no person may have: that of a CA or of the
// gateway, the one that it has or had, with which a thief of the gateway's could log
// in; and one that was revoked because others may have it, whoever's it was and
// whichever CA signed it.
func (f Folder) CheckRequestKey(public crypto.PublicKey) error {
	past, err := f.Past()
	if err != nil {
		return err
	}
	own, err := f.gateways()
	if err != nil {
		return err
	}
	for _, c := range append(own, past.CAs...) {
		if sameKey(public, c.PublicKey) {
			return fmt.Errorf("its key is that of %q: make another key", c.Subject.CommonName)
		}
	}
	for number := 1; number <= f.mark.Signing; number++ {
		revoked, err := f.revocations(number)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, r := range revoked {
			if r.Reason != KeyCompromise {
				continue
			}
			certificate, err := f.certificate(certificateFileOf(r.Serial))
			if errors.Is(err, fs.ErrNotExist) {
				continue // revoked before it was taken over
			}
			if err != nil {
				return err
			}
			if sameKey(public, certificate.PublicKey) {
				return fmt.Errorf("its key is that of the certificate %s, which was revoked as compromised: make another key", r.Serial)
			}
		}
	}
	return nil
}

// gateways are the certificates that the gateway has and those that it had: the log
// knows their serials.
func (f Folder) gateways() ([]*x509.Certificate, error) {
	server, err := f.Server()
	if err != nil {
		return nil, err
	}
	found := []*x509.Certificate{server.Certificate, server.Probe.Certificate}
	serials, err := f.logged("issue-server", "issue-probe")
	if err != nil {
		return nil, err
	}
	for _, serial := range serials {
		certificate, err := f.certificate(certificateFileOf(serial))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it never came into force
		}
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	return found, nil
}
