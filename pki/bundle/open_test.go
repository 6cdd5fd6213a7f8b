// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var everybody = []bundle.Person{
	{Name: "client1", Serials: []*big.Int{big.NewInt(100)}, Address: netip.MustParseAddr("10.0.255.10"), Groups: []string{"ops"}, Note: "鈴木さんのMac"},
	{Name: "first.last_2"},
}

func TestSealedOpens(t *testing.T) {
	a := bundletest.New(t, now)
	server := a.Server()
	sealed := a.Seal(server, bundle.Access{CRL: a.CRL(7, big.NewInt(300), big.NewInt(200)), Roster: everybody})
	got, warnings, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings: %v", warnings)
	}
	compare := cmp.Options{
		cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b *x509.Certificate) bool { return a.Equal(b) }),
		cmp.Comparer(func(a, b bundle.Secret) bool { return bytes.Equal(a.Reveal(), b.Reveal()) }),
	}
	if diff := cmp.Diff(everybody, got.Access.Roster, compare); diff != "" {
		t.Errorf("roster:\n%s", diff)
	}
	if diff := cmp.Diff(server, got.Server, compare); diff != "" {
		t.Errorf("server:\n%s", diff)
	}
	if diff := cmp.Diff([]*big.Int{big.NewInt(200), big.NewInt(300)}, got.Revoked(), compare); diff != "" {
		t.Errorf("revoked:\n%s", diff)
	}
	again, err := bundle.Seal(got.Server, got.Access, "vpn/office", 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sealed, again); diff != "" {
		t.Errorf("sealing what was opened gives other bytes:\n%s", diff)
	}
}

// Ten thousand people and twenty thousand revocations are the size that the
// design promises.
func TestSealedInShards(t *testing.T) {
	a := bundletest.New(t, now)
	random := rand.NewChaCha8([32]byte{1})
	serial := func() *big.Int {
		b := make([]byte, 16)
		_, _ = random.Read(b)
		b[0] |= 0x40
		return new(big.Int).SetBytes(b)
	}
	access := bundle.Access{}
	for i := range 10_000 {
		access.Roster = append(access.Roster, bundle.Person{
			Name:    fmt.Sprintf("person-%05d", i),
			Serials: []*big.Int{serial()},
			Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}),
		})
	}
	var revoked []*big.Int
	for range 20_000 {
		revoked = append(revoked, serial())
	}
	access.CRL = a.CRL(1, revoked...)
	sealed := a.Seal(a.Server(), access)
	t.Logf("%d shards, head of %d bytes", len(sealed.Shards), len(sealed.Head))
	if len(sealed.Shards) < 2 {
		t.Error("one shard: the test does not test shards")
	}
	for i, shard := range sealed.Shards {
		if len(shard) > bundle.MaxSecretBytes {
			t.Errorf("shard %d has %d bytes", i, len(shard))
		}
	}
	got, _, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Access.Roster) != 10_000 || len(got.Revoked()) != 20_000 {
		t.Errorf("%d people, %d revoked", len(got.Access.Roster), len(got.Revoked()))
	}
}

// TestOpenRefuses has one wrong point per case, each made from a bundle that
// opens.
func TestOpenRefuses(t *testing.T) {
	a := bundletest.New(t, now)
	other := bundletest.New(t, now)
	good := a.Server()
	access := bundle.Access{CRL: a.CRL(1), Roster: everybody}
	server := func(edit func(*bundle.Server)) bundle.Sealed {
		s := good
		edit(&s)
		return a.Seal(s, access)
	}
	leaf := func(usage x509.ExtKeyUsage, edit func(*x509.Certificate)) bundle.Sealed {
		return server(func(s *bundle.Server) {
			certificate, key := a.Issue("vpn.example.com", usage, edit)
			s.Certificate, s.Key = certificate, bundle.NewSecret(key)
		})
	}
	nothing := func(*x509.Certificate) {}
	with := func(edit func(*bundle.Sealed)) bundle.Sealed {
		s := a.Seal(good, access)
		s.Shards = append([][]byte{}, s.Shards...)
		edit(&s)
		return s
	}
	notCA := bundletest.New(t, now, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign })

	two := good
	two.CA = []*x509.Certificate{a.CA, other.CA}
	cases := map[string]struct {
		sealed bundle.Sealed
		want   string
	}{
		"server from another CA": {server(func(s *bundle.Server) { s.Certificate, s.Key = other.Server().Certificate, bundle.Secret{} }), "field \"key\" is empty"},
		"chain": {server(func(s *bundle.Server) {
			c, k := other.Issue("vpn.example.com", x509.ExtKeyUsageServerAuth)
			s.Certificate, s.Key = c, bundle.NewSecret(k)
		}), "field \"certificate\" does not chain"},
		"probe chain": {server(func(s *bundle.Server) {
			c, k := other.Issue(bundle.ProbeName, x509.ExtKeyUsageClientAuth)
			s.Probe.Certificate, s.Probe.Key = c, bundle.NewSecret(k)
		}), "field \"probe.certificate\" does not chain"},
		"server with a client's usage": {leaf(x509.ExtKeyUsageClientAuth, nothing), "may be used for more than serverAuth"},
		"server with any usage":        {leaf(x509.ExtKeyUsageAny, nothing), "may be used for more than serverAuth"},
		"server with both usages":      {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }), "may be used for more than serverAuth"},
		"server with no usage":         {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.ExtKeyUsage = nil }), "may not be used for serverAuth"},
		"server is a CA":               {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.IsCA = true }), "is a CA"},
		"server expired":               {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), "ended at 2026-11-23T11:59:00Z"},
		"server not yet":               {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }), "clock"},
		"server name":                  {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.Subject.CommonName = "a,b" }), "refused common name"},
		"server name is the probe's":   {leaf(x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.Subject.CommonName = bundle.ProbeName }), "has the probe's common name"},
		"probe name": {server(func(s *bundle.Server) {
			c, k := a.Issue("client1", x509.ExtKeyUsageClientAuth)
			s.Probe.Certificate, s.Probe.Key = c, bundle.NewSecret(k)
		}), "field \"probe.certificate\" has the common name \"client1\""},
		"probe with a server's usage": {server(func(s *bundle.Server) {
			c, k := a.Issue(bundle.ProbeName, x509.ExtKeyUsageServerAuth)
			s.Probe.Certificate, s.Probe.Key = c, bundle.NewSecret(k)
		}), "field \"probe.certificate\" may be used for more than clientAuth"},
		"key of another":       {server(func(s *bundle.Server) { s.Key = good.Probe.Key }), "field \"key\" does not belong"},
		"probe key of another": {server(func(s *bundle.Server) { s.Probe.Key = good.Key }), "field \"probe.key\" does not belong"},
		"encrypted key": {server(func(s *bundle.Server) {
			s.Key = bundle.NewSecret([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
		}), "field \"key\" is encrypted"},
		"key not PEM":                   {server(func(s *bundle.Server) { s.Key = bundle.NewSecret([]byte("hunter2")) }), "field \"key\" is not PEM"},
		"client key for a server's":     {server(func(s *bundle.Server) { s.TLSCryptV2 = good.Probe.TLSCryptV2 }), "field \"tls_crypt_v2\" is refused"},
		"server key for a client's":     {server(func(s *bundle.Server) { s.Probe.TLSCryptV2 = good.TLSCryptV2 }), "field \"probe.tls_crypt_v2\" is refused"},
		"client key of another server":  {server(func(s *bundle.Server) { s.Probe.TLSCryptV2 = bundle.NewSecret(other.ClientKey()) }), "was not made with this tls-crypt-v2 server key"},
		"CA is none":                    {server(func(s *bundle.Server) { s.CA = append(s.CA, good.Certificate) }), "field \"ca[1]\" (\"vpn.example.com\") is not a CA"},
		"CA may not sign CRLs":          {server(func(s *bundle.Server) { s.CA = append(s.CA, notCA.CA) }), "may not sign certificates and CRLs"},
		"authority":                     {server(func(s *bundle.Server) { s.Authority = "of fice" }), "field \"authority\" is refused"},
		"CRL of another CA":             {a.Seal(good, bundle.Access{CRL: other.CRL(1)}), "is not signed by a certificate of \"ca\""},
		"CRL of a second CA missing":    {server(func(s *bundle.Server) { s.CA = append(s.CA, other.CA) }), "field \"crl\" is the last of 1, and \"ca\" has 2"},
		"CRL without a second CA":       {a.Seal(good, bundle.Access{CRL: a.CRL(1), PreviousCRL: other.CRL(1)}), "field \"previous_crl\" is the last of 2, and \"ca\" has 1"},
		"CRLs changed round":            {a.Seal(two, bundle.Access{CRL: other.CRL(1), PreviousCRL: a.CRL(1)}), "field \"crl\" (issuer"},
		"revoked by the second CA":      {a.Seal(two, bundle.Access{CRL: a.CRL(1), PreviousCRL: other.CRL(1, good.Certificate.SerialNumber)}), "field \"certificate\" (serial"},
		"server revoked":                {a.Seal(good, bundle.Access{CRL: a.CRL(1, good.Certificate.SerialNumber)}), "field \"certificate\" (serial"},
		"probe revoked":                 {a.Seal(good, bundle.Access{CRL: a.CRL(1, good.Probe.Certificate.SerialNumber)}), "field \"probe.certificate\" (serial"},
		"head of another server secret": {with(func(s *bundle.Sealed) { s.Server = a.Seal(a.Server(), access).Server }), "the head belongs to another server secret"},
		"shard changed":                 {with(func(s *bundle.Sealed) { s.Shards[0] = append(bytes.Clone(s.Shards[0]), 0) }), "is not the one that the head names"},
		"shard missing":                 {with(func(s *bundle.Sealed) { s.Shards = nil }), "the head names 1 shards, 0 were read"},
		"head older than the server": {with(func(s *bundle.Sealed) {
			s.Server = bytes.Replace(s.Server, []byte("\"generation\":1"), []byte("\"generation\":2"), 1)
			s.Head = bytes.Replace(s.Head, []byte(sum(a.Seal(good, access).Server)), []byte(sum(s.Server)), 1)
		}), "older than the server secret's 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := bundle.Open(c.sealed.Server, c.sealed.Head, c.sealed.Shards, now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows the secret")
			}
		})
	}
}

func TestOpenWarns(t *testing.T) {
	a := bundletest.New(t, now)
	old := a.SignCRL(&x509.RevocationList{Number: big.NewInt(3), ThisUpdate: now.AddDate(0, -2, 0), NextUpdate: now.AddDate(0, -1, 0),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(99), RevocationTime: now.AddDate(0, -2, 0)}}})
	future := a.SignCRL(&x509.RevocationList{Number: big.NewInt(3), ThisUpdate: now.AddDate(0, 0, 1), NextUpdate: now.AddDate(0, 0, 2)})
	soon := a.Server()
	certificate, key := a.Issue("vpn.example.com", x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, 29) })
	soon.Certificate, soon.Key = certificate, bundle.NewSecret(key)
	certificate, key = a.Issue(bundle.ProbeName, x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, 29) })
	soon.Probe.Certificate, soon.Probe.Key = certificate, bundle.NewSecret(key)
	ended := a.Server()
	past := bundletest.New(t, now.AddDate(-11, 0, 0))
	ended.CA = append(ended.CA, past.CA)

	for name, c := range map[string]struct {
		server bundle.Server
		list   *x509.RevocationList
		before *x509.RevocationList
		want   []string
	}{
		"fresh":           {a.Server(), a.CRL(1), nil, nil},
		"CRL past":        {a.Server(), old, nil, []string{bundle.WarnCRLPast}},
		"CRL future":      {a.Server(), future, nil, []string{bundle.WarnCRLFuture}},
		"leaves end soon": {soon, a.CRL(1), nil, []string{bundle.WarnCertificateEnds, bundle.WarnProbeEnds}},
		"an old CA ended": {ended, a.CRL(1), past.CRL(1), []string{bundle.WarnCAEnds, bundle.WarnCRLPast}},
	} {
		t.Run(name, func(t *testing.T) {
			sealed := a.Seal(c.server, bundle.Access{CRL: c.list, PreviousCRL: c.before})
			got, warnings, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, w := range warnings {
				kinds = append(kinds, w.Kind)
			}
			if diff := cmp.Diff(c.want, kinds); diff != "" {
				t.Errorf("warnings %v:\n%s", warnings, diff)
			}
			if len(got.Revoked()) != len(c.list.RevokedCertificateEntries) {
				t.Errorf("revoked: %v", got.Revoked())
			}
		})
	}
}

func TestGzipIsBounded(t *testing.T) {
	open := func(shard []byte) error {
		_, err := bundle.OpenAccess(bundle.Head{Shards: []bundle.Shard{{ID: "x", SHA256: sum(shard), Bytes: len(shard)}}}, [][]byte{shard})
		return err
	}
	bomb := zip(t, bytes.Repeat([]byte(" "), bundle.MaxAccessBytes+1))
	good := zip(t, []byte("{}"))
	for name, c := range map[string]struct {
		shard []byte
		want  string
	}{
		"bomb":          {bomb, "more than 33554432 bytes once decompressed"},
		"not gzip":      {[]byte("{}"), "not gzip"},
		"cut":           {good[:len(good)-3], "broken gzip"},
		"trailing":      {append(bytes.Clone(good), 1, 2), "2 bytes after the gzip"},
		"second member": {append(bytes.Clone(good), good...), "bytes after the gzip"},
	} {
		if err := open(c.shard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func zip(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unzip(t testing.TB, packed []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(reader); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestTwoCAs is the middle of a roll-over: both CAs count, and both lists.
func TestTwoCAs(t *testing.T) {
	a, previous := bundletest.New(t, now), bundletest.New(t, now)
	server := a.Server()
	server.CA = append(server.CA, previous.CA)
	sealed := a.Seal(server, bundle.Access{CRL: a.CRL(1, big.NewInt(400)), PreviousCRL: previous.CRL(9, big.NewInt(300), big.NewInt(400))})
	b, warnings, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if got := fmt.Sprint(b.Revoked()); got != "[300 400]" {
		t.Errorf("revoked %s", got)
	}
}

// TestOpenTakesCAWithoutKeyUsage: so are the CAs of easy-rsa 2, and the extension's
// absence restricts nothing.
func TestOpenTakesCAWithoutKeyUsage(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := bundletest.NewWithKey(t, now, key)
	s := a.Server()
	s.CA = []*x509.Certificate{bundletest.NewWithKey(t, now, key, func(c *x509.Certificate) { c.KeyUsage = 0 }).CA}
	sealed := a.Seal(s, bundle.Access{CRL: a.CRL(1), Roster: everybody})
	if _, _, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now); err != nil {
		t.Error(err)
	}
}
