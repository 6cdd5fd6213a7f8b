// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package easyrsa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseIndex(t *testing.T) {
	got, err := ParseIndex([]byte("V\t361231235959Z\t\t0A\tunknown\t/CN=client1\n" +
		"R\t20561231235959Z\t261101000000Z,keyCompromise\tFF00\tunknown\t/C=JP/CN=a\\x00b\r\n" +
		"E\t991231235959Z\t\t1\tunknown\t/CN=old\n" +
		"R\t361231235959Z\t261101000000Z,keyTime,20261001000000Z\t2\tunknown\t/CN=x\n"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(year int, month time.Month, day, hour, minute, second int) time.Time {
		return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	}
	want := []Entry{
		{State: Valid, NotAfter: at(2036, 12, 31, 23, 59, 59), Serial: big.NewInt(10), Subject: "/CN=client1"},
		{State: Revoked, NotAfter: at(2056, 12, 31, 23, 59, 59), At: at(2026, 11, 1, 0, 0, 0), Reason: "keyCompromise", Serial: big.NewInt(0xff00), Subject: "/C=JP/CN=a\\x00b"},
		{State: Expired, NotAfter: at(1999, 12, 31, 23, 59, 59), Serial: big.NewInt(1), Subject: "/CN=old"},
		{State: Revoked, NotAfter: at(2036, 12, 31, 23, 59, 59), At: at(2026, 11, 1, 0, 0, 0), Reason: "keyTime", Serial: big.NewInt(2), Subject: "/CN=x"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
		t.Error(diff)
	}
	for _, empty := range []string{"", "\n"} {
		if got, err := ParseIndex([]byte(empty)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", empty, got, err)
		}
	}
}

func TestParseIndexRefuses(t *testing.T) {
	const good = "V\t361231235959Z\t\t0A\tunknown\t/CN=client1\n"
	for text, want := range map[string]string{
		strings.TrimSuffix(good, "\n"): "its last line is cut off",
		good + good:                    "line 2: the serial 0A is that of line 1 too",
		good + "\n" + strings.Replace(good, "0A", "0B", 1):    "line 2: it has 1 fields",
		strings.Replace(good, "V\t", "R\t", 1):                `"" is no time`,
		strings.Replace(good, "V\t", "VV\t", 1):               `its state is "VV"`,
		strings.Replace(good, "\t\t", "\t261101000000Z\t", 1): "it has a date of revocation",
		strings.Replace(good, "0A", "0x", 1):                  "no hexadecimal number",
		strings.Replace(good, "0A", "00", 1):                  "its serial is 0",
		strings.Replace(good, "0A", "-A", 1):                  "no hexadecimal number",
		strings.Replace(good, "3612", "3613", 1):              "is no time",
		strings.Replace(good, "unknown\t", "", 1):             "it has 5 fields",
	} {
		if _, err := ParseIndex([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte("V\t361231235959Z\t\t0A\tunknown\t/CN=client1\n"))
	f.Add([]byte("R\t20561231235959Z\t261101000000Z,keyCompromise\tFF00\tunknown\t/CN=x\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := ParseIndex(raw)
		if err != nil {
			return
		}
		if lines := strings.Count(string(raw), "\n"); len(entries) != lines && len(raw) > 1 {
			t.Errorf("%d entries of %d lines", len(entries), lines)
		}
		for _, e := range entries {
			if e.Serial.Sign() <= 0 || e.NotAfter.IsZero() || (e.State == Revoked) == e.At.IsZero() {
				t.Errorf("%+v", e)
			}
		}
	})
}

// TestReadRefusesTwoOfOneSerial: index.txt knows certificates by their serials alone,
// and would let in the wrong one of two.
func TestReadRefusesTwoOfOneSerial(t *testing.T) {
	folder := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sign := func(file, name string, serial int64, parent *x509.Certificate) *x509.Certificate {
		t.Helper()
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			BasicConstraintsValid: true, IsCA: parent == nil, SubjectKeyId: []byte{byte(serial)},
		}
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		write(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca := sign("ca.crt", "Office", 1, nil)
	write("ca.key", nil)
	write("index.txt", []byte("V\t361231235959Z\t\t05\tunknown\t/CN=alice\n"))
	sign("alice.crt", "alice", 5, ca)
	alice, err := os.ReadFile(filepath.Join(folder, "alice.crt"))
	if err != nil {
		t.Fatal(err)
	}
	write("05.pem", alice)
	check := func() error {
		t.Helper()
		p, err := Read(folder)
		if err != nil {
			t.Fatal(err)
		}
		return p.CheckIndex()
	}
	if err := check(); err != nil { // the same one twice, as easy-rsa 2 keeps them
		t.Fatal(err)
	}
	sign("bob.crt", "bob", 5, ca)
	if err := check(); err == nil || !strings.Contains(err.Error(), `two certificates have the serial 05, those of "alice" and "bob"`) {
		t.Errorf("error %v", err)
	}
	write("index.txt", []byte("R\t361231235959Z\t261101000000Z\t05\tunknown\t/CN=alice\n"))
	if err := check(); err != nil {
		t.Errorf("both are revoked: %v", err)
	}
}

// TestUnlock has the forms of a key that OpenSSL writes in the clear.
func TestUnlock(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	parameters := block("EC PARAMETERS", []byte("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"))
	for text, want := range map[string]string{
		block("EC PRIVATE KEY", sec1):              "",
		block("PRIVATE KEY", pkcs8):                "",
		parameters + block("EC PRIVATE KEY", sec1): "",
		parameters:                         "it is no PEM",
		block("DSA PRIVATE KEY", sec1[:9]): `it is a "DSA PRIVATE KEY", not a private key that is known here: write a copy of the PKI's key anew, with "openssl pkcs8 -topk8"`,
	} {
		p := PKI{CA: &x509.Certificate{PublicKey: key.Public()}, keyFile: filepath.Join(t.TempDir(), "ca.key")}
		if err := os.WriteFile(p.keyFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := p.Unlock(func() ([]byte, error) { t.Error("a passphrase is asked for"); return nil, nil })
		if want == "" && (err != nil || !key.Equal(opened)) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s%v, want %q", text, err, want)
		}
	}
}

// TestReadThroughLinks: a PKI under a configuration tool may have links for files. One
// that is passed over is a certificate that seems lost.
func TestReadThroughLinks(t *testing.T) {
	folder := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Office"}, NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true, SubjectKeyId: []byte{1}}
	alice := &x509.Certificate{SerialNumber: big.NewInt(0xD3ED), Subject: pkix.Name{CommonName: "alice"}, NotAfter: time.Now().Add(time.Hour)}
	for _, name := range []string{"private", "issued", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]*x509.Certificate{"ca.crt": ca, "elsewhere/alice.crt": alice} {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), key)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"private/ca.key": "", "index.txt": "V\t361231235959Z\t\tD3ED\tunknown\t/CN=alice\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("../elsewhere/alice.crt", "issued/alice.crt")
	link("elsewhere", "certs_by_serial")
	p, err := Read(folder)
	if err != nil || p.Certificates[alice.SerialNumber.String()] == nil {
		t.Fatalf("%v, %v", p.Certificates, err)
	}
	if _, lost := p.RevokeLost(time.Now()); len(lost) != 0 {
		t.Errorf("taken for lost: %q", lost)
	}
	link("../gone.crt", "issued/bob.crt")
	if _, err := Read(folder); err == nil || !strings.Contains(err.Error(), `issued/bob.crt: no such file or directory: if it is a link, put back what it leads to`) {
		t.Errorf("a link to nowhere: %v", err)
	}
	if err := os.Remove(filepath.Join(folder, "issued/bob.crt")); err != nil {
		t.Fatal(err)
	}
	link("gone", "expired")
	if _, err := Read(folder); err == nil || !strings.Contains(err.Error(), "expired: no such file") {
		t.Errorf("a folder that is a link to nowhere: %v", err)
	}
}

func TestHex(t *testing.T) {
	for serial, want := range map[int64]string{1: "01", 0x10: "10", 0xD3ED: "D3ED", 0xBD3ED: "0BD3ED"} {
		if got := Hex(big.NewInt(serial)); got != want {
			t.Errorf("%X is written %s, easy-rsa writes %s", serial, got, want)
		}
	}
}
