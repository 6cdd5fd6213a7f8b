// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func someRevoked(n int) []Revocation {
	var revoked []Revocation
	for i := range n {
		serial := new(big.Int).Lsh(big.NewInt(1), 126)
		revoked = append(revoked, Revocation{
			Serial: serial.Add(serial, big.NewInt(int64(i))), At: now, NotAfter: now.Add(ClientLife),
			Reason: reasons()[i%len(reasons())],
		})
	}
	return revoked
}

// oddRevoked has the numbers and moments at which an encoding changes.
func oddRevoked() []Revocation {
	var revoked []Revocation
	for _, bits := range []uint{1, 7, 8, 15, 16, 63, 64, 127, 128, 151, 159, 160} {
		most := new(big.Int).Lsh(big.NewInt(1), bits)
		at := time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
		for _, serial := range []*big.Int{new(big.Int).Sub(most, big.NewInt(1)), most.Rsh(most, 1)} {
			revoked = append(revoked, Revocation{Serial: serial, At: at, Reason: KeyCompromise})
			at = at.Add(time.Second)
		}
	}
	return revoked
}

// TestParseSerial: it reads what big.Int reads of positive decimals.
func TestParseSerial(t *testing.T) {
	for _, r := range oddRevoked() {
		for offset := int64(-1); offset <= 1; offset++ {
			serial := new(big.Int).Add(r.Serial, big.NewInt(offset))
			if serial.Sign() == 0 {
				continue
			}
			if got, ok := parseSerial(serial.String()); !ok || got.Cmp(serial) != 0 {
				t.Errorf("%s is read as %s, %v", serial, got, ok)
			}
		}
	}
	for _, text := range []string{"", "0", "007", "+7", "-7", "7 ", "0x7", "7_0", "٧", strings.Repeat("9", 50), strings.Repeat("9", 45) + "x", strings.Repeat("9", 20) + "x"} {
		if got, ok := parseSerial(text); ok {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}

func TestEntryThatNoListCanSay(t *testing.T) {
	for name, r := range map[string]Revocation{
		"serial 0":       {Serial: big.NewInt(0), At: now},
		"serial minus 1": {Serial: big.NewInt(-1), At: now},
		"22 octets":      {Serial: new(big.Int).Lsh(big.NewInt(1), 8*longestSerial), At: now},
		"year 1949":      {Serial: big.NewInt(1), At: time.Date(1949, 1, 1, 0, 0, 0, 0, time.UTC)},
		"year 10000":     {Serial: big.NewInt(1), At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := encodeEntries([]Revocation{r}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// issuers makes a CA of each kind of key that may sign.
func issuers(t *testing.T) map[string]Issuer {
	t.Helper()
	made := map[string]Issuer{}
	for name, make := range map[string]func() (crypto.Signer, error){
		"ECDSA P-256": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"ECDSA P-384": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		"RSA":         func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		"Ed25519":     func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err },
	} {
		key, err := make()
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, NotBefore: now, NotAfter: now.Add(CALife),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign,
		}
		certificate, err := sign(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = Issuer{number: 1, certificate: certificate, key: key, random: rand.Reader, now: now}
	}
	return made
}

// TestCRLIsTheStandardLibrarys: what is signed is, byte for byte, what
// crypto/x509 makes of the same, and another program's reader takes it.
func TestCRLIsTheStandardLibrarys(t *testing.T) {
	for name, issuer := range issuers(t) {
		for _, n := range []int{0, 1, 7} {
			for _, until := range []time.Time{now.Add(CRLLife), time.Date(2051, 1, 2, 3, 4, 5, 0, time.UTC)} {
				t.Run(fmt.Sprintf("%s, %d revoked, until %d", name, n, until.Year()), func(t *testing.T) {
					revoked := someRevoked(n)
					if n > 1 {
						revoked = append(revoked, oddRevoked()...)
					}
					der, err := signCRL(rand.Reader, issuer.certificate, issuer.key, big.NewInt(300), now, until, revoked)
					if err != nil {
						t.Fatal(err)
					}
					list, err := x509.ParseRevocationList(der)
					if err != nil {
						t.Fatal(err)
					}
					if err := list.CheckSignatureFrom(issuer.certificate); err != nil {
						t.Error(err)
					}
					var entries []x509.RevocationListEntry
					for _, r := range revoked {
						entries = append(entries, x509.RevocationListEntry{SerialNumber: r.Serial, RevocationTime: r.At, ReasonCode: int(r.Reason)})
					}
					want, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
						Number: big.NewInt(300), ThisUpdate: now, NextUpdate: until, RevokedCertificateEntries: entries,
					}, issuer.certificate, issuer.key)
					if err != nil {
						t.Fatal(err)
					}
					theirs, err := x509.ParseRevocationList(want)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(list.RawTBSRevocationList, theirs.RawTBSRevocationList) {
						t.Errorf("signed\n%x\nx509 signs\n%x", list.RawTBSRevocationList, theirs.RawTBSRevocationList)
					}
					head, err := readCRLHead(der)
					if err != nil || head.Number.Int64() != 300 || !head.ThisUpdate.Equal(now) || !head.NextUpdate.Equal(until) {
						t.Errorf("head %+v, %v", head, err)
					}
				})
			}
		}
	}
}

func TestRevokedIsReadBack(t *testing.T) {
	want := someRevoked(20)
	got, err := parseRevoked(encodeRevoked(append(want[10:20:20], want[:10]...)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
		t.Error(diff)
	}
	if left := unexpired(want, now.Add(ClientLife+EndedFor-time.Hour)); len(left) != len(want) {
		t.Errorf("%d of %d left within a week of their end", len(left), len(want))
	}
	if left := unexpired(want, now.Add(ClientLife+EndedFor+time.Hour)); len(left) != 0 {
		t.Errorf("%d left long after their end", len(left))
	}
}

// TestDamagedRevokedIsRefused: what is lost of the file lets somebody in.
func TestDamagedRevokedIsRefused(t *testing.T) {
	whole := string(encodeRevoked(someRevoked(2)))
	lines := strings.SplitAfter(whole, "\n")
	for damaged, want := range map[string]string{
		"":                             "first line",
		whole[1:]:                      "first line",
		strings.TrimRight(whole, "\n"): "cut off",
		lines[0]:                       "how many",
		lines[0] + lines[1]:            "how many",
		lines[0] + lines[1] + lines[2]: "how many",
		lines[0] + lines[1] + lines[3]: "how many",
		lines[0] + lines[1] + lines[1] + revokedFoot(2):                "not above",
		lines[0] + lines[2] + lines[1] + revokedFoot(2):                "not above",
		lines[0] + "\n" + lines[1] + revokedFoot(2):                    "line 2",
		lines[0] + "-1" + lines[1] + revokedFoot(1):                    "line 2",
		lines[0] + "0" + lines[1] + revokedFoot(1):                     "line 2",
		strings.ReplaceAll(whole, "Z\t", "+01:00\t"):                   "no time in UTC",
		strings.ReplaceAll(whole, "keyCompromise", "tired"):            "the reason",
		strings.ReplaceAll(whole, "\tkeyCompromise", ""):               "four fields",
		strings.ReplaceAll(whole, "keyCompromise", "x\tx"):             "the reason",
		lines[0] + strings.Repeat("9", 50) + lines[1] + revokedFoot(1): "no positive number",
	} {
		if _, err := parseRevoked([]byte(damaged)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", damaged, err, want)
		}
	}
}

func FuzzParseRevoked(f *testing.F) {
	f.Add(encodeRevoked(someRevoked(3)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		revoked, err := parseRevoked(raw)
		if err != nil {
			return
		}
		if again, err := parseRevoked(encodeRevoked(revoked)); err != nil || len(again) != len(revoked) {
			t.Fatalf("%d written and %d read again: %v", len(revoked), len(again), err)
		}
	})
}

func FuzzReadCRLHead(f *testing.F) {
	for _, issuer := range []int{0, 3} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign, NotBefore: now, NotAfter: now.Add(CALife)}
		certificate, err := sign(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			f.Fatal(err)
		}
		der, err := signCRL(rand.Reader, certificate, key, big.NewInt(5), now, now.Add(CRLLife), someRevoked(issuer))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		head, err := readCRLHead(der)
		if err != nil {
			return
		}
		// Where the standard library reads it as well, it reads the same.
		if list, err := x509.ParseRevocationList(der); err == nil && (list.Number == nil || list.Number.Cmp(head.Number) != 0 || !list.NextUpdate.Equal(head.NextUpdate)) {
			t.Fatalf("%+v, x509 says number %v until %s", head, list.Number, list.NextUpdate)
		}
	})
}
