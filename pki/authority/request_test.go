// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

func FuzzParseRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"", "client1", "client9,203.0.113.9:1", "client1\x00.example.com"} {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	}
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		public, err := ParseRequest(text, "client1")
		if err != nil {
			return
		}
		// What is taken is a key that can be signed for, whatever else was asked.
		if err := bundle.CheckKey(public); err != nil {
			t.Errorf("a key is taken that connects with nothing: %v", err)
		}
	})
}

// TestKeysThatNobodyMayHave outlast what made them known: the gateway's own after
// another set of keys, a compromised one after its CA.
func TestKeysThatNobodyMayHave(t *testing.T) {
	folder := newFolder(t)
	first, err := folder.Server()
	if err != nil {
		t.Fatal(err)
	}
	ann := added(t, folder, "ann")
	if err := Create(folder.at(certificateFile(ann.Pair.Certificate)), publicFile, bundle.CertificatesPEM(ann.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	issuer := unlock(t, folder, now)
	if err := folder.Revoke([]Issuer{issuer}, KeyCompromise, ann.Pair.Certificate); err != nil {
		t.Fatal(err)
	}
	oldCA := folder.CA()
	if folder, err = folder.RenewServer([]Issuer{issuer}); err != nil {
		t.Fatal(err)
	}
	if folder, err = folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase}); err != nil {
		t.Fatal(err)
	}
	if folder, err = folder.EndRollover(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]crypto.PublicKey{
		"the gateway's first": first.Certificate.PublicKey, "its probe's": first.Probe.Certificate.PublicKey,
		"the first CA's": oldCA.PublicKey, "a compromised one": ann.Pair.Certificate.PublicKey,
	} {
		if err := folder.CheckRequestKey(public); err == nil {
			t.Errorf("%s key is certified again", name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.CheckRequestKey(key.Public()); err != nil {
		t.Error(err)
	}
}
