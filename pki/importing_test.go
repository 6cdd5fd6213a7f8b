// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
	"github.com/vpnami/packer-plugin-vpnami/pki/easyrsa"
)

// TestTakeOverTellsPeopleApart has names that are one to OpenVPN, which writes
// "a_b" for "a/b": a publish would refuse them, and the folder would be made by
// then.
func TestTakeOverTellsPeopleApart(t *testing.T) {
	theirs := oldPKI(t, "a/b", "a_b", "c d")
	taken, err := takeOver(theirs, "vpn.example.com", testNow)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range taken.adopted.People {
		names = append(names, p.Name+"="+p.CommonName)
	}
	if got := strings.Join(names, " "); got != "a_b= imported-4=c d" {
		t.Errorf("taken over: %s", got)
	}
	if len(taken.leftOut) != 1 || !strings.Contains(taken.leftOut[0], `"a/b", imported-2: to OpenVPN that is "a_b", as "a_b" is`) || taken.certificates != 2 {
		t.Errorf("left out: %q, %d certificates taken", taken.leftOut, taken.certificates)
	}
}

// TestTakeOverCapitals: to easy-rsa and to OpenVPN "client1" and "Client1" are two
// people; both go on connecting, and neither gets the other's address.
func TestTakeOverCapitals(t *testing.T) {
	taken, err := takeOver(oldPKI(t, "client1", "Client1", "client1", "Client1", "CLIENT1"), "vpn.example.com", testNow)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var roster []bundle.Person
	for _, p := range taken.adopted.People {
		got = append(got, fmt.Sprintf("%s=%s %d", p.Name, p.CommonName, len(p.Certificates)))
		person := bundle.Person{Name: p.Name, CommonName: p.CommonName}
		for _, c := range p.Certificates {
			person.Serials = append(person.Serials, c.SerialNumber)
		}
		roster = append(roster, person)
	}
	if want := []string{"client1= 2", "imported-3=Client1 2", "imported-6=CLIENT1 1"}; !slices.Equal(got, want) || len(taken.leftOut) != 0 {
		t.Errorf("taken over: %q, left out: %q; want %q", got, taken.leftOut, want)
	}
	desk := bundletest.New(t, testNow)
	if _, err := bundle.Seal(desk.Server(), bundle.Access{CRL: desk.CRL(1), Roster: roster}, "vpn", 1); err != nil {
		t.Errorf("the gateway refuses it: %v", err)
	}
}

// TestTakeOverBothUsages: a certificate that is for both, as "easyrsa
// build-serverClient-full" makes them, is a client's beside a gateway's own, and
// the gateway's where there is no other.
func TestTakeOverBothUsages(t *testing.T) {
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	theirs := oldPKI(t, "alice", "branch", "vpn.example.com")
	theirs.Certificates["3"].ExtKeyUsage = both
	theirs.Certificates["4"].ExtKeyUsage = both[:1]
	theirs.Certificates["3"].NotAfter = theirs.Certificates["3"].NotAfter.Add(time.Second)
	taken, err := takeOver(theirs, "", testNow)
	if err != nil {
		t.Fatal(err)
	}
	if taken.serverName != "vpn.example.com" || len(taken.adopted.People) != 2 || len(taken.leftOut) != 0 {
		t.Errorf("the server %q, %d people, left out %q", taken.serverName, len(taken.adopted.People), taken.leftOut)
	}

	// A gateway's own that was revoked, or has ended, was one all the same.
	server := theirs.Entries[2]
	for _, gone := range []easyrsa.Entry{
		{State: easyrsa.Revoked, Serial: server.Serial, NotAfter: server.NotAfter, At: testNow},
		{State: easyrsa.Valid, Serial: server.Serial, NotAfter: testNow.Add(-time.Minute)},
		{State: easyrsa.Expired, Serial: server.Serial, NotAfter: testNow.Add(-time.Minute)},
	} {
		theirs.Entries[2] = gone
		if taken, err = takeOver(theirs, "", testNow); err != nil || taken.serverName != "" || len(taken.adopted.People) != 2 || len(taken.leftOut) != 0 {
			t.Errorf("%c: the server %q, %d people, left out %q; %v", gone.State, taken.serverName, len(taken.adopted.People), taken.leftOut, err)
		}
	}
	weak := theirs
	weak.Certificates = maps.Clone(theirs.Certificates)
	delete(weak.Certificates, "4")
	weak.Weak = map[string]*x509.Certificate{"4": theirs.Certificates["4"]}
	weak.Entries = append(slices.Clone(theirs.Entries[:2]), server)
	if taken, err = takeOver(weak, "", testNow); err != nil || taken.serverName != "" || len(taken.adopted.People) != 2 {
		t.Errorf("weak: the server %q, %d people; %v", taken.serverName, len(taken.adopted.People), err)
	}
	// Without one it is the gateway's, and that is told.
	theirs.Entries = theirs.Entries[:2]
	if taken, err = takeOver(theirs, "", testNow); err != nil || taken.serverName != "branch" || len(taken.adopted.People) != 1 || len(taken.leftOut) != 1 || !strings.Contains(taken.leftOut[0], `"branch", serial 03: it is the server's`) {
		t.Errorf("the server %q, %d people, left out %q; %v", taken.serverName, len(taken.adopted.People), taken.leftOut, err)
	}
	if taken, err = takeOver(theirs, "gateway", testNow); err != nil || taken.serverName != "gateway" || len(taken.adopted.People) != 2 || len(taken.leftOut) != 0 {
		t.Errorf("the server %q, %d people, left out %q; %v", taken.serverName, len(taken.adopted.People), taken.leftOut, err)
	}
}

// TestTakeOverNameOfAnother: somebody is called what another would be called here.
func TestTakeOverNameOfAnother(t *testing.T) {
	taken, err := takeOver(oldPKI(t, "a b", "c d", "Imported-2"), "vpn.example.com", testNow)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range taken.adopted.People {
		names = append(names, p.Name+"="+p.CommonName)
	}
	if want := []string{"Imported-2=", "imported-3=c d"}; !slices.Equal(names, want) {
		t.Errorf("taken over: %q, want %q", names, want)
	}
	if len(taken.leftOut) != 1 || !strings.Contains(taken.leftOut[0], `"a b": it would be "imported-2" in the roster, which is another's name`) || taken.certificates != 2 {
		t.Errorf("left out: %q, %d certificates taken", taken.leftOut, taken.certificates)
	}
}

// TestIssueKnowsLookalikes is the same of a name that comes later.
func TestIssueKnowsLookalikes(t *testing.T) {
	theirs := oldPKI(t, "a/b")
	taken, err := takeOver(theirs, "vpn.example.com", testNow)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	taken.adopted.CA = selfSigned(t, key)
	folder, err := authority.Make(authority.Plan{
		Path: filepath.Join(t.TempDir(), "office"), Name: "office", ServerName: "vpn.example.com", Network: "10.0.255.0/24", Adopted: &taken.adopted,
	}, authority.AdoptedKey{Key: key, Passphrase: []byte("correct horse")}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.CheckNew("a_b", testNow); err == nil || !strings.Contains(err.Error(), `is what OpenVPN makes of "a/b"`) {
		t.Errorf("error %v", err)
	}
	if err := folder.CheckNew("a_c", testNow); err != nil {
		t.Error(err)
	}
}

// TestNobodyHasTheNameOfTheCA: OpenSSL takes a certificate that has its issuer's
// name for self-signed ("error 18 at 0 depth lookup"), whatever signed it.
func TestNobodyHasTheNameOfTheCA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := selfSigned(t, key)
	name := strings.ToUpper(ca.Subject.CommonName)
	plan := authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office", ServerName: name, Adopted: &authority.Adopted{CA: ca}}
	const want = "is the CA's own: a certificate of that name would count as self-signed"
	if _, err := plan.Check(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the server: %v", err)
	}
	plan.ServerName = "vpn.example.com"
	folder, err := authority.Make(plan, authority.AdoptedKey{Key: key, Passphrase: []byte("correct horse")}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.CheckNew(name, testNow); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a person: %v", err)
	}
}

// oldPKI is one with a certificate for a client of each name, from serial 2 on.
func oldPKI(t *testing.T, names ...string) easyrsa.PKI {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := easyrsa.PKI{CA: selfSigned(t, key), CRLNumber: new(big.Int), Certificates: map[string]*x509.Certificate{}}
	for i, name := range names {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name},
			NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(1000 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		c := signed(t, template, p.CA, key)
		p.Certificates[c.SerialNumber.String()] = c
		p.Entries = append(p.Entries, easyrsa.Entry{State: easyrsa.Valid, Serial: c.SerialNumber, NotAfter: c.NotAfter, Subject: "/CN=" + name})
	}
	return p
}

func selfSigned(t *testing.T, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte("old"),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(authority.CALife),
	}
	return signed(t, template, template, key)
}

func signed(t *testing.T, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTakeOverRevokesCAs: what a certificate of the CA may sign, a gateway takes, with
// any name and number in it. That of a person is no person's then.
func TestTakeOverRevokesCAs(t *testing.T) {
	theirs := oldPKI(t, "alice", "branch", "old", "netscape", "person")
	for serial, change := range map[string]func(*x509.Certificate){
		"3": func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true },
		"4": func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign },
		"5": func(c *x509.Certificate) {
			c.KeyUsage = 0
			c.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 1}, Value: []byte{3, 2, 2, 4}}}
		},
		"6": func(c *x509.Certificate) {
			c.BasicConstraintsValid = true
			c.KeyUsage |= x509.KeyUsageCertSign // which basic constraints overrule
		},
	} {
		change(theirs.Certificates[serial])
	}
	taken, err := takeOver(theirs, "vpn.example.com", testNow)
	if err != nil {
		t.Fatal(err)
	}
	var people, revoked []string
	for _, p := range taken.adopted.People {
		people = append(people, p.Name)
	}
	for _, r := range taken.adopted.Revoked {
		revoked = append(revoked, r.Serial.String())
	}
	if !slices.Equal(people, []string{"alice", "person"}) || !slices.Equal(revoked, []string{"3", "4", "5"}) || len(taken.revoked) != 3 {
		t.Errorf("people %q, revoked %q, told %q", people, revoked, taken.revoked)
	}
}

// TestTakeOverOfRenewedAndRevoked: "easyrsa renew" and then "revoke" takes back the
// newer certificate alone.
func TestTakeOverOfRenewedAndRevoked(t *testing.T) {
	theirs := oldPKI(t, "dave", "dave", "erin", "erin")
	theirs.Certificates["3"].NotBefore = testNow.Add(-time.Minute)
	theirs.Certificates["5"].NotBefore = testNow.Add(-time.Minute)
	for i, serial := range map[int]string{1: "3", 2: "4"} { // of erin the older, which is as it should be
		c := theirs.Certificates[serial]
		theirs.Entries[i] = easyrsa.Entry{State: easyrsa.Revoked, Serial: c.SerialNumber, NotAfter: c.NotAfter, At: testNow}
	}
	taken, err := takeOver(theirs, "vpn.example.com", testNow)
	if err != nil || !slices.Equal(taken.doubtful, []string{"dave"}) {
		t.Errorf("doubtful %q, %v", taken.doubtful, err)
	}
}

// TestTakeOverOfLost: somebody removed the certificate instead of revoking it, and
// easy-rsa revokes none that it does not have.
func TestTakeOverOfLost(t *testing.T) {
	theirs := oldPKI(t, "alice", "erin")
	delete(theirs.Certificates, "3")
	if _, err := takeOver(theirs, "vpn.example.com", testNow); err == nil || !strings.Contains(err.Error(), "say --revoke-lost") {
		t.Errorf("error %v", err)
	}
	theirs, lost := theirs.RevokeLost(testNow)
	taken, err := takeOver(theirs, "vpn.example.com", testNow)
	if err != nil || len(lost) != 1 || len(taken.adopted.People) != 1 || len(taken.adopted.Revoked) != 1 || taken.adopted.Revoked[0].Serial.Int64() != 3 {
		t.Errorf("lost %q, taken %+v, %v", lost, taken.adopted, err)
	}
}
