// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build bench

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestBench measures the desk beside its peers, in turns in one run. It fails
// for what is broken, never for what is slow.
//
// The CA's key is open on both sides: easy-rsa's is not encrypted, and that of
// vpnami-pki is handed over in the place of a key of KMS, so that the
// derivation from a passphrase, which is slow on purpose, is not measured.
func TestBench(t *testing.T) {
	easyrsa := newEasyRSA(t)
	folder, key := newOpenAuthority(t)

	const rounds = 15
	var theirs, ours []time.Duration
	for i := range rounds {
		theirs = append(theirs, timed(t, easyrsa.command("build-client-full", fmt.Sprintf("client%d", i), "nopass")))
		ours = append(ours, timed(t, unlocked(folder, key, "issue", fmt.Sprintf("client%d", i), "--folder", folder, "--out", t.TempDir())))
	}
	one, peer := median(ours), median(theirs)
	t.Logf("one certificate, one process, durable     %8.1f ms   easy-rsa %s %8.1f ms   %5.1f times as fast   (bound: 20)", ms(one), easyrsa.version, ms(peer), ratio(peer, one))

	list := filepath.Join(t.TempDir(), "people.csv")
	var csv strings.Builder
	csv.WriteString("name\n")
	for i := range 1000 {
		fmt.Fprintf(&csv, "many%d\n", i)
	}
	write(t, list, csv.String())
	var thousands []time.Duration
	for range 3 {
		another, itsKey := newOpenAuthority(t)
		thousands = append(thousands, timed(t, unlocked(another, itsKey, "issue", "--from", list, "--folder", another, "--out", t.TempDir())))
	}
	thousand := median(thousands)
	t.Logf("a thousand certificates in one call       %8.1f ms   easy-rsa, a thousand times the median %8.0f ms   %5.1f times as fast   (bound: 60)", ms(thousand), 1000*ms(peer), ratio(1000*peer, thousand))

	benchCRL(t)
	benchLarge(t)
}

// benchCRL signs a list of a hundred thousand, as "openssl ca -gencrl" does.
func benchCRL(t *testing.T) {
	folder, key := newOpenAuthority(t)
	const entries = 100_000
	var index, revoked strings.Builder
	head, _, _ := strings.Cut(read(t, filepath.Join(folder, "ca", "1", "revoked.tsv")), "\n")
	revoked.WriteString(head + "\n")
	var serials []*big.Int
	for range entries {
		serials = append(serials, randomSerial(t))
	}
	for _, serial := range serials { // an index is in the order of issuing
		fmt.Fprintf(&index, "R\t361231235959Z\t261101000000Z\t%s\tunknown\t/CN=x\n", hexOf(serial))
	}
	slices.SortFunc(serials, (*big.Int).Cmp)
	for _, serial := range serials {
		fmt.Fprintf(&revoked, "%s\t2036-12-31T23:59:59Z\t2026-11-01T00:00:00Z\tunspecified\n", serial)
	}
	fmt.Fprintf(&revoked, "# %d in all\n", entries)
	openssl := t.TempDir()
	write(t, filepath.Join(openssl, "index.txt"), index.String())
	write(t, filepath.Join(openssl, "crlnumber"), "01\n")
	write(t, filepath.Join(openssl, "conf"), "[ca]\ndefault_ca=d\n[d]\ndatabase="+openssl+"/index.txt\ncrlnumber="+openssl+"/crlnumber\ndefault_md=sha256\ndefault_crl_days=180\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n")
	write(t, filepath.Join(folder, "ca", "1", "revoked.tsv"), revoked.String())

	var ours, theirs []time.Duration
	for range 7 {
		theirs = append(theirs, timed(t, exec.Command("openssl", "ca", "-gencrl", "-config", filepath.Join(openssl, "conf"),
			"-cert", filepath.Join(folder, "ca", "1", "ca.crt"), "-keyfile", key, "-out", filepath.Join(openssl, "crl.pem"))))
		issuer, err := openAuthority(t, folder).Unlock(authority.Keys{KMS: plainKey(key)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := openAuthority(t, folder).SignCRL(issuer); err != nil {
			t.Fatal(err)
		}
		ours = append(ours, time.Since(start))
	}
	if lists, err := openAuthority(t, folder).CRLs(time.Now()); err != nil || len(lists[0].RevokedCertificateEntries) != entries {
		t.Fatalf("the list is not whole: %v", err)
	}
	t.Logf("CRL of %d, read, signed and durable   %8.1f ms   openssl ca -gencrl %8.1f ms   %.2f of its time   (bound: 0.35)", entries, ms(median(ours)), ms(median(theirs)), 1/ratio(median(theirs), median(ours)))
}

// benchLarge issues one more certificate in an authority of a hundred thousand.
func benchLarge(t *testing.T) {
	folder, key := newOpenAuthority(t)
	const people = 100_000
	office := openAuthority(t, folder)
	certificate := office.CA()
	for i := range people {
		serial := randomSerial(t)
		person := authority.Person{Schema: 1, Name: fmt.Sprintf("person%d", i), Certificates: []authority.Issued{{
			CA: 1, Serial: serial.String(), SHA256: strings.Repeat("0", 64), NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter,
		}}}
		raw, err := json.Marshal(person)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "people", person.Name+".json"), string(raw)+"\n")
		write(t, filepath.Join(folder, "certificates", serial.Text(16)+".crt"), "-")
	}
	var whole []time.Duration
	for i := range 7 {
		whole = append(whole, timed(t, unlocked(folder, key, "issue", fmt.Sprintf("one-more%d", i), "--folder", folder, "--out", t.TempDir())))
	}
	status := filepath.Join(t.TempDir(), "status")
	cmd := unlocked(folder, key, "issue", "measured", "--folder", folder, "--out", t.TempDir())
	cmd.Env = append(cmd.Env, "VPNAMI_BENCH_STATUS="+status)
	timed(t, cmd)
	t.Logf("one more in an authority of %d        %8.1f ms, %.1f MiB at most   (bounds: 50 ms, 150 MiB)", people, ms(median(whole)), resident(t, read(t, status)))
}

// resident is the most that a process has had in memory, in MiB, by its status
// (proc_pid_status(5), VmHWM).
func resident(t *testing.T, status string) float64 {
	t.Helper()
	_, rest, found := strings.Cut(status, "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil || !found {
		t.Fatalf("reading the memory of the process: %v in %q", err, status)
	}
	return kib / 1024
}

// newOpenAuthority makes an authority whose key lies beside it, in the clear.
func newOpenAuthority(t *testing.T) (folder, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	key, folder = filepath.Join(parent, "key.pem"), filepath.Join(parent, "office")
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if _, err := authority.Make(authority.Plan{Path: folder, Name: "office", ServerName: "vpn.example.com"}, authority.HeldByKMS{ARN: benchARN, Key: private}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return folder, key
}

const benchARN = "arn:aws:kms:eu-central-1:123456789012:key/bench"

func openAuthority(t *testing.T, folder string) authority.Folder {
	t.Helper()
	office, err := authority.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return office
}

func plainKey(path string) func(string) (crypto.Signer, error) {
	return func(string) (crypto.Signer, error) { return readPlainKey(path) }
}

// unlocked is vpnami-pki with the key of the CA open.
func unlocked(folder, key string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Getenv("VPNAMI_BENCH_PROGRAM"), args...)
	cmd.Dir, cmd.Env = filepath.Dir(folder), append(os.Environ(), "VPNAMI_BENCH_KEY="+key)
	return cmd
}

func timed(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	return time.Since(start)
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64             { return float64(d) / float64(time.Millisecond) }
func ratio(one, other time.Duration) float64 { return float64(one) / float64(other) }
func hexOf(serial *big.Int) string           { return strings.ToUpper(serial.Text(16)) }
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func randomSerial(t *testing.T) *big.Int {
	t.Helper()
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// easyRSA is a PKI of easy-rsa 3, as Debian has it.
type easyRSA struct{ folder, version string }

func newEasyRSA(t *testing.T) easyRSA {
	t.Helper()
	e := easyRSA{folder: t.TempDir()}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "easy-rsa").Output()
	if err != nil {
		t.Fatalf("easy-rsa is not installed: %v (make bench installs it)", err)
	}
	e.version = string(out)
	timed(t, e.command("init-pki"))
	timed(t, e.command("build-ca", "nopass"))
	return e
}

func (e easyRSA) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/share/easy-rsa/easyrsa", append([]string{"--batch", "--use-algo=ec", "--curve=prime256v1"}, args...)...)
	cmd.Dir, cmd.Env = e.folder, append(os.Environ(), "EASYRSA_PKI="+filepath.Join(e.folder, "pki"))
	return cmd
}
