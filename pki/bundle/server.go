// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"strconv"

	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

const (
	allowedCA          = "a string: the PEM of one or more CA certificates"
	allowedCertificate = "a string: the PEM of one certificate"
	allowedKey         = "a string: the PEM of a private key without a passphrase"
	allowedServerCrypt = "a string: the PEM of an OpenVPN tls-crypt-v2 server key"
	allowedClientCrypt = "a string: the PEM of an OpenVPN tls-crypt-v2 client key"
)

// OpenServer reads the server secret: every field present, known, of its form,
// and the keys fitting the certificates. Whether the certificates are good
// now is for [Open] to say.
func OpenServer(raw []byte) (Server, error) {
	server, err := openServer(raw)
	if err != nil {
		return Server{}, fmt.Errorf("reading the server secret: %w", err)
	}
	return server, nil
}

func openServer(raw []byte) (Server, error) {
	if err := checkSize(raw); err != nil {
		return Server{}, err
	}
	doc, err := readDocument(raw, "schema", "generation", "authority", "ca", "certificate", "key", "tls_crypt_v2", "probe", "wrapping")
	if err != nil {
		return Server{}, err
	}
	if _, err := doc.number("schema", Schema, Schema); err != nil {
		return Server{}, err
	}
	var s Server
	if s.Generation, err = doc.number("generation", 1, math.MaxUint64); err != nil {
		return Server{}, err
	}
	if s.Authority, err = doc.text("authority", "a string: the authority's name"); err != nil {
		return Server{}, err
	}
	if err := CheckName(s.Authority); err != nil {
		return Server{}, doc.refuse("authority", "is refused ("+err.Error()+")", "the authority's name")
	}
	if s.CA, err = doc.certificates("ca", allowedCA); err != nil {
		return Server{}, err
	}
	if s.Certificate, s.Key, err = doc.pair(); err != nil {
		return Server{}, err
	}
	serverCrypt, err := doc.secret("tls_crypt_v2", allowedServerCrypt)
	if err != nil {
		return Server{}, err
	}
	wrapper, err := tlscrypt.ParseServerKey(serverCrypt.Reveal())
	if err != nil {
		return Server{}, doc.refuse("tls_crypt_v2", "is refused ("+err.Error()+")", allowedServerCrypt)
	}
	s.TLSCryptV2 = serverCrypt

	if doc.has("wrapping") {
		const allowed = "\"none\", or left out"
		wrapping, err := doc.text("wrapping", allowed)
		if err != nil {
			return Server{}, err
		}
		if s.Wrapping = Wrapping(wrapping); s.Wrapping != NoWrapping {
			return Server{}, doc.refuse("wrapping", "is "+strconv.Quote(shorten(wrapping)), allowed)
		}
	}
	rawProbe, err := doc.value("probe", "an object", "an object with the probe's certificate, key and tls_crypt_v2")
	if err != nil {
		return Server{}, err
	}
	s.Probe, err = openProbe(rawProbe, wrapper)
	return s, err
}

func openProbe(raw json.RawMessage, wrapper tlscrypt.ServerKey) (Probe, error) {
	doc, err := readObject("probe", raw, "certificate", "key", "tls_crypt_v2")
	if err != nil {
		return Probe{}, err
	}
	var p Probe
	if p.Certificate, p.Key, err = doc.pair(); err != nil {
		return Probe{}, err
	}
	if p.TLSCryptV2, err = doc.secret("tls_crypt_v2", allowedClientCrypt); err != nil {
		return Probe{}, err
	}
	client, err := tlscrypt.ParseClientKey(p.TLSCryptV2.Reveal())
	if err != nil {
		return Probe{}, doc.refuse("tls_crypt_v2", "is refused ("+err.Error()+")", allowedClientCrypt)
	}
	if err := wrapper.Owns(client); err != nil {
		return Probe{}, doc.refuse("tls_crypt_v2", "is refused ("+err.Error()+")", "a client key made with the server's \"tls_crypt_v2\"")
	}
	return p, nil
}

// pair reads "certificate" and "key", which must belong together.
func (o object) pair() (*x509.Certificate, Secret, error) {
	found, err := o.certificates("certificate", allowedCertificate)
	if err != nil {
		return nil, Secret{}, err
	}
	if len(found) != 1 {
		return nil, Secret{}, o.refuse("certificate", fmt.Sprintf("holds %d certificates", len(found)), allowedCertificate)
	}
	secret, err := o.secret("key", allowedKey)
	if err != nil {
		return nil, Secret{}, err
	}
	key, err := parseKey(secret.Reveal())
	if err != nil {
		return nil, Secret{}, o.refuse("key", err.Error(), allowedKey)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(found[0].PublicKey) {
		return nil, Secret{}, o.refuse("key", "does not belong to the certificate beside it", "the private key of that certificate")
	}
	return found[0], secret, nil
}

func (o object) secret(name, allowed string) (Secret, error) {
	s, err := o.text(name, allowed)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret([]byte(s)), nil
}

func (o object) certificates(name, allowed string) ([]*x509.Certificate, error) {
	s, err := o.text(name, allowed)
	if err != nil {
		return nil, err
	}
	found, err := ParseCertificates([]byte(s))
	if err != nil {
		return nil, o.refuse(name, "is refused ("+err.Error()+")", allowed)
	}
	return found, nil
}

// ParseCertificates reads one or more certificates in PEM, and nothing else.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		// pem.Decode would skip whatever stands before a block.
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("there is something else than PEM in it, after %d certificates", len(found))
		}
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("there is broken PEM in it, after %d certificates", len(found))
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is PEM of type %q in it", shorten(block.Type))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of it: %w", len(found)+1, err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no certificate in it")
	}
	return found, nil
}

// parseKey reads a private key in the forms that OpenVPN reads. Its errors say
// nothing of the key itself.
func parseKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("is not PEM")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("has something after its PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("is encrypted")
	default:
		return nil, fmt.Errorf("is PEM of type %q", shorten(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("is not a readable private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("is a key that cannot sign")
	}
	return signer, nil
}

func checkSize(raw []byte) error {
	if len(raw) > MaxSecretBytes {
		return fmt.Errorf("it has %d bytes; a secret holds at most %d", len(raw), MaxSecretBytes)
	}
	return nil
}
