// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

func rsaKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func curveKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edwardsKey(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// openWith opens a bundle whose server and probe have the key, from an
// authority with another.
func openWith(t *testing.T, a *bundletest.Authority, server, probe crypto.Signer, edits ...func(*x509.Certificate)) error {
	t.Helper()
	s := a.Server()
	var text []byte
	s.Certificate, text = a.IssueWithKey(server, "vpn.example.com", x509.ExtKeyUsageServerAuth, edits...)
	s.Key = bundle.NewSecret(text)
	s.Probe.Certificate, text = a.IssueWithKey(probe, bundle.ProbeName, x509.ExtKeyUsageClientAuth, edits...)
	s.Probe.Key = bundle.NewSecret(text)
	sealed := a.Seal(s, bundle.Access{CRL: a.CRL(1)})
	_, _, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now)
	return err
}

// TestOpenAsksOfKeys is what "tls-cert-profile preferred" and
// "remote-cert-tls" of OpenVPN ask.
func TestOpenAsksOfKeys(t *testing.T) {
	a := bundletest.New(t, now)
	good, weak := curveKey(t, elliptic.P256()), rsaKey(t, 1024)
	for name, key := range map[string]crypto.Signer{
		"P-256": good, "P-384": curveKey(t, elliptic.P384()), "P-521": curveKey(t, elliptic.P521()),
		"Ed25519": edwardsKey(t), "RSA-2048": rsaKey(t, 2048),
	} {
		if err := openWith(t, a, key, key); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
		if err := openWith(t, bundletest.NewWithKey(t, now, key), good, good); err != nil {
			t.Errorf("a CA with %s is refused: %v", name, err)
		}
	}
	usage := func(u x509.KeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage = u }
	}
	old := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"server of RSA-1024":       {openWith(t, a, weak, good), "field \"certificate\" (\"vpn.example.com\") has an RSA key of 1024 bits"},
		"probe of RSA-1024":        {openWith(t, a, good, weak), "field \"probe.certificate\" (\"vpnami-probe\") has an RSA key of 1024 bits"},
		"CA of RSA-1024":           {openWith(t, bundletest.NewWithKey(t, now, weak), good, good), "field \"ca[0]\" (\"office\") has an RSA key of 1024 bits"},
		"P-224":                    {openWith(t, a, curveKey(t, elliptic.P224()), good), "field \"certificate\" (\"vpn.example.com\") has a key on the curve P-224"},
		"signed with SHA-1":        {openWith(t, a, good, good, old), "field \"certificate\" (\"vpn.example.com\") is signed with ECDSA-SHA1"},
		"no digital signature":     {openWith(t, a, good, good, usage(x509.KeyUsageKeyEncipherment)), "its key usage lacks digital signature"},
		"key usage is not there":   {openWith(t, a, good, good, usage(0)), "its key usage lacks digital signature"},
		"key agreement only, both": {openWith(t, a, good, good, usage(x509.KeyUsageKeyAgreement)), "field \"certificate\" (\"vpn.example.com\") may not sign in TLS"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v\nwant %q", name, c.err, c.want)
		}
	}
}
