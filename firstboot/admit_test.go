// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// TestPerson: who is on the roster comes in with the certificate that it
// names, and with no other.
func TestPerson(t *testing.T) {
	a := newAuthority(t)
	certificate, key := a.person("client1")
	second, secondKey := a.Issue("client1", x509.ExtKeyUsageClientAuth)
	stranger, strangerKey := a.Issue("stranger", x509.ExtKeyUsageClientAuth)
	a.access.Roster = append(a.access.Roster, bundle.Person{Name: "anycert"})
	anyOf, anyKey := a.Issue("anycert", x509.ExtKeyUsageClientAuth)
	// Names that another program gave.
	odd := map[string]*x509.Certificate{}
	oddKeys := map[string][]byte{}
	for i, name := range []string{"Suzuki Taro", "a,b/c", "-x", "\u5c71\u7530 \u592a\u90ce"} {
		odd[name], oddKeys[name] = a.Issue(name, x509.ExtKeyUsageClientAuth)
		a.access.Roster = append(a.access.Roster, bundle.Person{Name: fmt.Sprintf("odd%d", i), CommonName: name, Serials: []*big.Int{odd[name].SerialNumber}})
	}
	again, againKey := a.Issue("Suzuki Taro", x509.ExtKeyUsageClientAuth)
	posing, posingKey := a.Issue("../serials/anycert", x509.ExtKeyUsageClientAuth)
	m, server := serve(t, a)
	for _, c := range []struct {
		name        string
		certificate *x509.Certificate
		key         []byte
		admitted    bool
	}{
		{"client1", certificate, key, true},
		{"client1's other certificate", second, secondKey, false},
		{"stranger", stranger, strangerKey, false},
		{"any certificate", anyOf, anyKey, true},
		{"Suzuki Taro", odd["Suzuki Taro"], oddKeys["Suzuki Taro"], true},
		{"a,b/c", odd["a,b/c"], oddKeys["a,b/c"], true},
		{"-x", odd["-x"], oddKeys["-x"], true},
		{"beyond ASCII", odd["\u5c71\u7530 \u592a\u90ce"], oddKeys["\u5c71\u7530 \u592a\u90ce"], true},
		{"Suzuki Taro's other certificate", again, againKey, false},
		{"a path as a name", posing, posingKey, false},
	} {
		// No subtest: it would run on another thread, outside the namespace.
		client := filepath.Join(m.layout.current(), "probe")
		for name, data := range map[string][]byte{"client.crt": bundle.CertificatesPEM(c.certificate), "client.key": c.key} {
			if err := os.WriteFile(filepath.Join(client, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		err := proveHere(t, m)
		if (err == nil) != c.admitted {
			t.Errorf("%s: got %v, want admitted %v\n%s", c.name, err, c.admitted, server.text())
		}
	}
}

// TestBelowAnotherCertificate: whoever has a certificate of the CA that may sign, a CA
// of easy-rsa's sets no limit, signs for any name and number. OpenSSL takes the chain.
func TestBelowAnotherCertificate(t *testing.T) {
	a := authorityOf(bundletest.New(t, time.Now(), func(ca *x509.Certificate) { ca.MaxPathLenZero = false }))
	certificate, key := a.person("client1")
	branchKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	branch, _ := a.IssueWithKey(branchKey, "branch", x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	})
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: certificate.SerialNumber, Subject: certificate.Subject, NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, branch, branchKey.Public(), branchKey)
	if err != nil {
		t.Fatal(err)
	}
	posing, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(branchKey)
	if err != nil {
		t.Fatal(err)
	}
	m, server := serve(t, a)
	come := func(key []byte, chain ...*x509.Certificate) error {
		t.Helper()
		for name, data := range map[string][]byte{"client.crt": bundle.CertificatesPEM(chain...), "client.key": key} {
			if err := os.WriteFile(filepath.Join(m.layout.current(), "probe", name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return proveHere(t, m)
	}
	if err := come(key, certificate); err != nil {
		t.Errorf("client1: %v\n%s", err, server.text())
	}
	if err := come(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), posing, branch); err == nil {
		t.Error("a certificate that branch has signed comes in as client1")
	}
	if !strings.Contains(server.text(), "VERIFY OK: depth=1, CN=branch") {
		t.Errorf("the chain itself was refused, so nothing is shown:\n%s", server.text())
	}
}
