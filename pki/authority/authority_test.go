// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

var (
	now        = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	passphrase = []byte("correct horse")
)

func newFolder(t *testing.T) Folder {
	t.Helper()
	folder, err := Make(Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, UnderPassphrase{Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func unlock(t *testing.T, folder Folder, at time.Time) Issuer {
	t.Helper()
	issuer, err := folder.Unlock(Keys{Passphrase: passphrase}, at)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// added is a certificate that was issued and counts.
func added(t *testing.T, folder Folder, name string) Client {
	t.Helper()
	client, err := issueTo(t, folder, now, name)
	if err == nil {
		err = folder.Add(client)
	}
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// revocableOf is a certificate that is not kept, as those of [added] are.
func revocableOf(t *testing.T, folder Folder, c *x509.Certificate) Revocable {
	t.Helper()
	r, err := folder.revocable(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func issueTo(t *testing.T, folder Folder, at time.Time, name string) (Client, error) {
	t.Helper()
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	return unlock(t, folder, at).Issue(Person{Name: name}, wrapper, ClientLife)
}

func TestMadeAuthorityIsPublishable(t *testing.T) {
	folder := newFolder(t)
	server, err := folder.Server()
	if err != nil {
		t.Fatal(err)
	}
	lists, err := folder.CRLs(now)
	if err != nil {
		t.Fatal(err)
	}
	server.Generation = 1
	sealed, err := bundle.Seal(server, bundle.Access{CRL: lists[0]}, "vpn/office", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now); err != nil || len(warnings) > 0 {
		t.Errorf("%v, warnings %v", err, warnings)
	}
	// A machine whose clock is half an hour slow takes it too.
	if _, _, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now.Add(-30*time.Minute)); err != nil {
		t.Error(err)
	}
}

func TestCertificates(t *testing.T) {
	folder := newFolder(t)
	client, err := issueTo(t, folder, now, "first.last")
	if err != nil {
		t.Fatal(err)
	}
	c := client.Pair.Certificate
	if c.SerialNumber.Sign() != 1 || c.SerialNumber.BitLen() != 127 {
		t.Errorf("serial of %d bits", c.SerialNumber.BitLen())
	}
	if !c.NotBefore.Equal(now.Add(-25*time.Hour)) || !c.NotAfter.Equal(now.Add(ClientLife)) {
		t.Errorf("from %s to %s", c.NotBefore, c.NotAfter)
	}
	if c.IsCA || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || len(c.DNSNames) != 0 {
		t.Errorf("CA %v, usage %v, names %v", c.IsCA, c.ExtKeyUsage, c.DNSNames)
	}
	if ca := folder.CA(); !ca.MaxPathLenZero || ca.MaxPathLen != 0 || !ca.IsCA {
		t.Error("the CA's path length is not 0")
	}
	// Issued in the CA's last year, a certificate ends with the CA.
	late, err := issueTo(t, folder, now.Add(CALife-30*24*time.Hour), "late")
	if err != nil {
		t.Fatal(err)
	}
	if !late.Pair.Certificate.NotAfter.Equal(folder.CA().NotAfter) {
		t.Errorf("ends %s, the CA %s", late.Pair.Certificate.NotAfter, folder.CA().NotAfter)
	}
}

// TestNothingIsSignedThatNobodyTakes has a clock that is before the CA's
// beginning, and one that is behind its end.
func TestNothingIsSignedThatNobodyTakes(t *testing.T) {
	folder := newFolder(t)
	for at, want := range map[time.Time]string{
		now.Add(-CALife):                        "is this machine's clock right?",
		folder.CA().NotAfter:                    "the CA ended on 2036-11-20",
		folder.CA().NotAfter.Add(2 * time.Hour): "the CA ended on 2036-11-20",
	} {
		_, err := issueTo(t, folder, at, "ann")
		_, serverErr := folder.RenewServer([]Issuer{unlock(t, folder, at)})
		for what, err := range map[string]error{
			"issued": err, "to be issued": folder.CheckNew("ann", at), "to be renewed": renewable(folder, Person{Name: "ann"}, at), "for the gateway": serverErr,
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s on %s: %v, want %q", what, at, err, want)
			}
		}
	}
}

func TestRosterRemembers(t *testing.T) {
	folder := newFolder(t)
	client, err := issueTo(t, folder, now, "Ann")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := folder.PrepareRecord(now, client)
	if err != nil {
		t.Fatal(err)
	}
	if err := recorded.Create(); err != nil {
		t.Fatal(err)
	}
	if people, err := folder.People(); err != nil || len(people) != 0 {
		t.Errorf("recorded is not added: %v, %v", people, err)
	}
	if err := folder.Add(client); err != nil {
		t.Fatal(err)
	}
	if err := folder.Add(client); !errors.Is(err, fs.ErrExist) {
		t.Errorf("added twice: %v", err)
	}
	for _, taken := range []string{"Ann", "ann", "office-vpn", "vpnami-probe", "default"} {
		if err := folder.CheckNew(taken, now); err == nil {
			t.Errorf("%q can be new", taken)
		}
	}
	people, err := folder.People()
	if err != nil || len(people) != 1 {
		t.Fatal(people, err)
	}
	person, err := people[0].Access(people[0].Certificates)
	if err != nil {
		t.Fatal(err)
	}
	if person.Name != "Ann" || len(person.Serials) != 1 || person.Serials[0].Cmp(client.Pair.Certificate.SerialNumber) != 0 {
		t.Errorf("published as %+v", person)
	}
}

func TestCRLIsRenewedFromHalfItsLife(t *testing.T) {
	folder := newFolder(t)
	for _, c := range []struct {
		at   time.Duration
		want int64
	}{{CRLLife/2 - time.Hour, 1}, {CRLLife/2 + time.Hour, 2}, {CRLLife/2 + 2*time.Hour, 2}} {
		if _, err := folder.RenewCRL(unlock(t, folder, now.Add(c.at))); err != nil {
			t.Fatal(err)
		}
		lists, err := folder.CRLs(now)
		if err != nil {
			t.Fatal(err)
		}
		list := lists[0]
		if list.Number.Int64() != c.want {
			t.Errorf("after %s: number %s, want %d", c.at, list.Number, c.want)
		}
		if err := list.CheckSignatureFrom(folder.CA()); err != nil {
			t.Error(err)
		}
	}
}

func TestWrongPassphrase(t *testing.T) {
	folder := newFolder(t)
	if _, err := folder.Unlock(Keys{Passphrase: []byte("wrong horse")}, now); !errors.Is(err, ErrPassphrase) {
		t.Error(err)
	}
}

func TestIssuerIsNotPrinted(t *testing.T) {
	issuer := unlock(t, newFolder(t), now)
	private := issuer.key.(*ecdsa.PrivateKey)
	raw, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, value := range []any{issuer, &issuer, []Issuer{issuer}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("x", "issuer", issuer, "pointer", &issuer, "list", []Issuer{issuer})
	}
	number := new(big.Int).SetBytes(raw)
	for _, form := range []string{number.String(), number.Text(16), fmt.Sprintf("%d", raw), base64.StdEncoding.EncodeToString(raw)} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(form)) {
			t.Error("the CA's key was printed")
		}
	}
	if !strings.Contains(out.String(), "issuer office CA") {
		t.Errorf("the issuer is not named: %s", out.String())
	}
}

// TestMakeLeavesNothing has the folder's place taken while it is filled.
func TestMakeLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "office")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(Plan{Path: path, Name: "office"}, UnderPassphrase{Passphrase: passphrase}, now); err == nil {
		t.Error("a folder in use is overwritten")
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestLockIsForOne(t *testing.T) {
	folder := newFolder(t)
	_, release, err := folder.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := folder.Lock(ctx); err == nil {
		t.Error("locked twice")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	_, again, err := folder.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
}

func TestWritesAreWhole(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := Create(path, 0o600, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, 0o600, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if err := Replace(path, 0o644, []byte("three")); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || string(raw) != "three" {
		t.Errorf("%q, %v", raw, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
		t.Errorf("mode %s", info.Mode())
	}
	if err := Create(filepath.Join(folder, "missing", "file"), 0o600, nil); err == nil {
		t.Error("a missing folder is no error")
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}
	if err := createPlainly(path, 0o600, []byte("four")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("without links, created twice: %v", err)
	}
}

func FuzzDecodePerson(f *testing.F) {
	f.Add([]byte("{\"schema\":1,\"name\":\"a\",\"certificates\":[{\"serial\":\"1\"}]}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Person
		if decode(raw, &p) != nil {
			return
		}
		_, _ = p.Access(p.Certificates)
		if _, err := encode(p); err != nil && !strings.Contains(err.Error(), "year outside") {
			t.Fatal(err)
		}
	})
}

// TestSetsAreCreatedTogether has the second of two sets find a file in its
// place: the names of both are taken back, and what was there stays.
func TestSetsAreCreatedTogether(t *testing.T) {
	folder := t.TempDir()
	taken := filepath.Join(folder, "taken")
	if err := os.WriteFile(taken, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sets []Prepared
	for _, names := range [][]string{{"a", "b"}, {"c", "taken"}, {"d"}} {
		var files []NewFile
		for _, name := range names {
			files = append(files, NewFile{filepath.Join(folder, name), privateFile, []byte("ours")})
		}
		set, err := Prepare(files)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
	}
	if err := CreateInOrder(sets...); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v is left, %v", entries, err)
	}
	if raw, err := os.ReadFile(taken); err != nil || string(raw) != "somebody's" {
		t.Errorf("%q is there now, %v", raw, err)
	}
}

func TestMakeFoldersThroughALinkToNowhere(t *testing.T) {
	folder := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"link", "link/below"} {
		if err := MakeFolders(filepath.Join(folder, path)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for range 2 {
		if err := MakeFolders(filepath.Join(folder, "one", "two")); err != nil {
			t.Error(err)
		}
	}
}
