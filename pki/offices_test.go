// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

func command(t *testing.T, folder string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vpnami-pki", args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), quickly()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("vpnami-pki %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// quickly are the variables with which a command asks for nothing.
func quickly() []string {
	return []string{"VPNAMI_PASSPHRASE=correct horse", "VPNAMI_P12_PASSWORD=battery staple"}
}

// writeNames writes a list of so many people.
func writeNames(t *testing.T, path string, n int) {
	t.Helper()
	text := "name\n"
	for i := range n {
		text += fmt.Sprintf("p%03d\n", i)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// twoOffices makes a folder with an authority of two people, and one in which a
// roll-over of it is ready to end.
func twoOffices(t *testing.T) (start, rolling string) {
	t.Helper()
	start = filepath.Join(t.TempDir(), "start")
	if err := os.Mkdir(start, 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, start, "init", "office", "--server-name", "vpn.example.com")
	openQuickly(t, filepath.Join(start, "office", "ca", "1", "ca.key"))
	command(t, start, "issue", "client1", "client2", "--folder", "office")
	rolling = copyFolder(t, start)
	command(t, rolling, "rollover", "start", "--folder", "office")
	openQuickly(t, filepath.Join(rolling, "office", "ca", "2", "ca.key"))
	command(t, rolling, "renew", "client1", "client2", "--folder", "office", "--out", "renewed")
	return start, rolling
}

// openQuickly encrypts the key of a CA anew, under the same passphrase and with
// one round of the derivation: a thousand commands open it here.
func openQuickly(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is no PEM", path)
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if block.Bytes, err = pkcs8.MarshalPrivateKey(key, []byte("correct horse"), &pkcs8.Opts{
		Cipher: pkcs8.AES256CBC, KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 1, HMACHash: crypto.SHA256},
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// makeOldPKI makes one as easy-rsa does, of a server, two clients, and one who is revoked;
// its key is not encrypted.
func makeOldPKI(t *testing.T, path string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		t.Helper()
		path := filepath.Join(path, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Easy-RSA CA"}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte("old"),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authority.CALife),
	}
	ca := signed(t, template, template, key)
	write("private/ca.key", "PRIVATE KEY", keyDER)
	write("ca.crt", "CERTIFICATE", ca.Raw)
	var index strings.Builder
	for i, name := range []string{"vpn.example.com", "client1", "client2", "lost"} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if i == 0 {
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
		c := signed(t, template, ca, key)
		state, at := "V", ""
		if name == "lost" {
			state, at = "R", time.Now().UTC().Format("060102150405Z")
		}
		write(fmt.Sprintf("certs_by_serial/%02X.pem", c.SerialNumber), "CERTIFICATE", c.Raw)
		fmt.Fprintf(&index, "%s\t%s\t%s\t%02X\tunknown\t/CN=%s\n", state, c.NotAfter.UTC().Format("060102150405Z"), at, c.SerialNumber, name)
	}
	if err := os.WriteFile(filepath.Join(path, "index.txt"), []byte(index.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}
