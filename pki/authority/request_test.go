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
	"os"
	"strings"
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
// another set of keys, a revoked one after its CA, and all of them the log.
func TestKeysThatNobodyMayHave(t *testing.T) {
	folder := newFolder(t)
	first, err := folder.Server()
	if err != nil {
		t.Fatal(err)
	}
	issuer := unlock(t, folder, now)
	keys := map[string]crypto.PublicKey{}
	issued := func(name string, because ...Reason) {
		c := added(t, folder, name).Pair.Certificate
		if err := Create(folder.at(certificateFile(c)), publicFile, bundle.CertificatesPEM(c)); err != nil {
			t.Fatal(err)
		}
		keys[name] = c.PublicKey
		for _, reason := range because {
			if _, err := folder.Revoke([]Issuer{issuer}, reason, revocableOf(t, folder, c)); err != nil {
				t.Fatal(err)
			}
		}
	}
	issued("ann", KeyCompromise)
	issued("bob", Unspecified)
	issued("cid", Superseded)
	issued("dan")
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
	if err := os.Remove(folder.at("log.jsonl")); err != nil {
		t.Fatal(err)
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of   string
		to   string
		key  crypto.PublicKey
		want string // of the refusal; empty: it is taken
	}{
		{"the gateway's first", "ann", first.Certificate.PublicKey, "of " + folder.ServerName()},
		{"its probe's", "ann", first.Probe.Certificate.PublicKey, "of " + bundle.ProbeName},
		{"the first CA's", "ann", oldCA.PublicKey, oldCA.Subject.CommonName},
		{"one's own, compromised", "ann", keys["ann"], "(keyCompromise)"},
		{"another's, compromised", "dan", keys["ann"], "of ann"},
		{"one's own, revoked for no reason given", "bob", keys["bob"], "(unspecified)"},
		{"one's own, superseded", "cid", keys["cid"], ""},
		{"one's own in force", "dan", keys["dan"], ""},
		{"another's in force", "cid", keys["dan"], "of dan"},
		{"a new one", "ann", fresh.Public(), ""},
	} {
		err := folder.CheckRequestKey(Person{Name: c.to}, c.key, new(SameKey))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("the key is %s: %v, wanted %q", c.of, err, c.want)
		}
	}
}
