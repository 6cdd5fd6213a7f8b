// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package bundletest makes authorities and bundles for tests: good ones, and
// ones that are wrong in one point. It uses nothing of the operator's command,
// so that a mistake there is not made twice alike.
package bundletest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// Authority is a CA with its key, good from a day and an hour before Now for ten years.
type Authority struct {
	tb        testing.TB
	Now       time.Time
	CA        *x509.Certificate
	key       crypto.Signer
	serverKey tlscrypt.ServerKey
	serial    int64
}

// New makes an authority. The edits change the CA's template before it is
// signed.
func New(tb testing.TB, now time.Time, edits ...func(*x509.Certificate)) *Authority {
	tb.Helper()
	return NewWithKey(tb, now, newKey(tb), edits...)
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// NewWithKey is [New] with a key of the test's own.
func NewWithKey(tb testing.TB, now time.Time, key crypto.Signer, edits ...func(*x509.Certificate)) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, Now: now, key: key}
	template := &x509.Certificate{
		SerialNumber:          a.nextSerial(),
		Subject:               pkix.Name{CommonName: "office"},
		NotBefore:             now.Add(-25 * time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, edit := range edits {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.CA, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	if a.serverKey, err = tlscrypt.NewServerKey(rand.Reader); err != nil {
		tb.Fatal(err)
	}
	return a
}

func (a *Authority) nextSerial() *big.Int {
	a.serial++
	return big.NewInt(a.serial)
}

// Issue makes a certificate for a name and one use, good for a year, and its
// key in PEM.
func (a *Authority) Issue(name string, usage x509.ExtKeyUsage, edits ...func(*x509.Certificate)) (*x509.Certificate, []byte) {
	a.tb.Helper()
	return a.IssueWithKey(newKey(a.tb), name, usage, edits...)
}

// IssueWithKey is [Authority.Issue] for a key of the test's own.
func (a *Authority) IssueWithKey(key crypto.Signer, name string, usage x509.ExtKeyUsage, edits ...func(*x509.Certificate)) (*x509.Certificate, []byte) {
	a.tb.Helper()
	template := &x509.Certificate{
		SerialNumber:          a.nextSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             a.Now.Add(-25 * time.Hour),
		NotAfter:              a.Now.AddDate(1, 0, 0),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
	}
	for _, edit := range edits {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.CA, key.Public(), a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// ClientKey makes a tls-crypt-v2 client key in PEM.
func (a *Authority) ClientKey() []byte {
	a.tb.Helper()
	key, err := a.serverKey.NewClientKey(rand.Reader, a.Now)
	if err != nil {
		a.tb.Fatal(err)
	}
	return key.PEM()
}

// Server makes a server of generation 1 named "vpn.example.com".
func (a *Authority) Server() bundle.Server {
	a.tb.Helper()
	certificate, key := a.Issue("vpn.example.com", x509.ExtKeyUsageServerAuth)
	probe, probeKey := a.Issue(bundle.ProbeName, x509.ExtKeyUsageClientAuth)
	return bundle.Server{
		Generation:  1,
		Authority:   "office",
		CA:          []*x509.Certificate{a.CA},
		Certificate: certificate,
		Key:         bundle.NewSecret(key),
		TLSCryptV2:  bundle.NewSecret(a.serverKey.PEM()),
		Probe: bundle.Probe{
			Certificate: probe,
			Key:         bundle.NewSecret(probeKey),
			TLSCryptV2:  bundle.NewSecret(a.ClientKey()),
		},
	}
}

// CRL makes a revocation list, good for 30 days.
func (a *Authority) CRL(number int64, revoked ...*big.Int) *x509.RevocationList {
	a.tb.Helper()
	template := &x509.RevocationList{
		Number:     big.NewInt(number),
		ThisUpdate: a.Now.Add(-25 * time.Hour),
		NextUpdate: a.Now.AddDate(0, 0, 30),
	}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: a.Now})
	}
	return a.SignCRL(template)
}

// SignCRL signs a revocation list as it is given.
func (a *Authority) SignCRL(template *x509.RevocationList) *x509.RevocationList {
	a.tb.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, template, a.CA, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return list
}

// Seal seals a server and an access document as generation 1 under
// "vpn/office".
func (a *Authority) Seal(server bundle.Server, access bundle.Access) bundle.Sealed {
	a.tb.Helper()
	sealed, err := bundle.Seal(server, access, "vpn/office", 1)
	if err != nil {
		a.tb.Fatal(err)
	}
	return sealed
}
