// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package authority keeps a certificate authority in a folder on the
// operator's machine.
//
//	authority.json         what marks the folder: schema, name, server name
//	ca.crt  ca.key         the CA; the key is encrypted under a passphrase
//	crl.pem                the revocation list last signed
//	server/                what the gateway gets: server.crt server.key
//	                       tls-crypt-v2.key probe.crt probe.key probe-tls-crypt-v2.key
//	people/<name>.json     the roster: one person and their certificates
//	certificates/<serial>.crt
//	                       every certificate ever signed, by serial in hex
//	published.json         generation last published, per prefix
//	log.jsonl              what was done when, by whom; lines are only added
//	lock                   held by the one command that may write
//
// A file per person makes issuing to one of a hundred thousand as quick as to
// the first, and leaves nothing half written: a person is in the roster when
// their file is there, whole. Everything else is written before it.
//
// The folder is 0700. The gateway's own keys lie in it unencrypted, so that a
// publish needs no passphrase; who takes them can pose as the gateway, but
// cannot let anybody in.
package authority

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

const (
	schema   = 1
	markFile = "authority.json"
)

// Folder is an authority on disk.
type Folder struct {
	path string
	mark mark
	ca   *x509.Certificate
}

type mark struct {
	Schema     int       `json:"schema"`
	Name       string    `json:"name"`
	ServerName string    `json:"server_name"`
	Created    time.Time `json:"created"`
}

// Name is the authority's name.
func (f Folder) Name() string { return f.mark.Name }

// ServerName is the common name of the server's certificate.
func (f Folder) ServerName() string { return f.mark.ServerName }

// Path is where the folder is.
func (f Folder) Path() string { return f.path }

// CA is the certificate that everything chains to.
func (f Folder) CA() *x509.Certificate { return f.ca }

func (f Folder) at(names ...string) string {
	return filepath.Join(append([]string{f.path}, names...)...)
}

// Plan is an authority to be made.
type Plan struct {
	Path       string
	Name       string
	ServerName string // empty: the name and "-vpn"
}

// Check refuses what cannot be made, before a passphrase is asked for.
func (p Plan) Check() (Plan, error) {
	if err := bundle.CheckName(p.Name); err != nil {
		return Plan{}, fmt.Errorf("naming the authority: %w", err)
	}
	if p.ServerName == "" {
		p.ServerName = p.Name + "-vpn"
	}
	if err := bundle.CheckName(p.ServerName); err != nil {
		return Plan{}, fmt.Errorf("naming the server: %w", err)
	}
	if p.ServerName == bundle.ProbeName {
		return Plan{}, fmt.Errorf("naming the server: the name %q is reserved", p.ServerName)
	}
	info, err := os.Lstat(p.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return Plan{}, fmt.Errorf("making the folder %q: %w", p.Path, err)
	case !info.IsDir():
		return Plan{}, fmt.Errorf("making the folder %q: a file of that name is there: choose another with --folder", p.Path)
	}
	entries, err := os.ReadDir(p.Path)
	if err != nil {
		return Plan{}, fmt.Errorf("making the folder %q: %w", p.Path, err)
	}
	if len(entries) > 0 {
		return Plan{}, fmt.Errorf("making the folder %q: it is there and not empty: an authority is never overwritten, choose another with --folder", p.Path)
	}
	return p, nil
}

// Make makes an authority: CA, server, probe, an empty CRL. The folder appears
// whole or not at all.
func Make(plan Plan, passphrase []byte, now time.Time) (Folder, error) {
	plan, err := plan.Check()
	if err != nil {
		return Folder{}, err
	}
	parent := filepath.Dir(filepath.Clean(plan.Path))
	if err := os.MkdirAll(parent, folderMode); err != nil {
		return Folder{}, fmt.Errorf("making the folder %q: %w", plan.Path, err)
	}
	building, err := startBuilding(plan.Path)
	if err != nil {
		return Folder{}, fmt.Errorf("making the folder %q: %w", plan.Path, err)
	}
	if err := fill(building, plan, passphrase, now); err != nil {
		return Folder{}, errors.Join(fmt.Errorf("making the authority %q: %w", plan.Name, err), os.RemoveAll(building))
	}
	// An empty folder was allowed above; os.Rename would not replace it.
	if err := os.Remove(plan.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Folder{}, errors.Join(fmt.Errorf("making the folder %q: %w", plan.Path, err), os.RemoveAll(building))
	}
	if err := os.Rename(building, plan.Path); err != nil {
		return Folder{}, errors.Join(fmt.Errorf("making the folder %q: %w", plan.Path, err), os.RemoveAll(building))
	}
	if err := syncFolder(parent); err != nil {
		return Folder{}, err
	}
	return Open(plan.Path)
}

// startBuilding makes the folder that becomes the one at path; [SweepBuilding]
// knows its name.
func startBuilding(path string) (string, error) {
	path = filepath.Clean(path)
	return os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
}

func fill(path string, plan Plan, passphrase []byte, now time.Time) error {
	issuer, err := newIssuer(plan.Name, now, rand.Reader)
	if err != nil {
		return err
	}
	server, err := issuer.server(plan.ServerName)
	if err != nil {
		return err
	}
	probe, err := issuer.probe()
	if err != nil {
		return err
	}
	list, err := issuer.crl(big.NewInt(1), nil)
	if err != nil {
		return err
	}
	wrapper, err := tlscrypt.NewServerKey(rand.Reader)
	if err != nil {
		return err
	}
	probeCrypt, err := wrapper.NewClientKey(rand.Reader, now)
	if err != nil {
		return err
	}
	locked, err := lockKey(issuer.key, passphrase)
	if err != nil {
		return err
	}
	marked, err := encode(mark{Schema: schema, Name: plan.Name, ServerName: plan.ServerName, Created: now.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	for _, folder := range []string{"server", "people", "certificates"} {
		if err := os.Mkdir(filepath.Join(path, folder), folderMode); err != nil {
			return err
		}
	}
	for _, file := range []struct {
		name string
		mode fs.FileMode
		data []byte
	}{
		{"ca.crt", publicFile, bundle.CertificatesPEM(issuer.certificate)},
		{"ca.key", privateFile, locked},
		{"crl.pem", publicFile, bundle.CRLPEM(list)},
		{"lock", privateFile, nil},
		{"server/server.crt", publicFile, bundle.CertificatesPEM(server.Certificate)},
		{"server/server.key", privateFile, server.Key.Reveal()},
		{"server/tls-crypt-v2.key", privateFile, wrapper.PEM()},
		{"server/probe.crt", publicFile, bundle.CertificatesPEM(probe.Certificate)},
		{"server/probe.key", privateFile, probe.Key.Reveal()},
		{"server/probe-tls-crypt-v2.key", privateFile, probeCrypt.PEM()},
		{certificateFile(server.Certificate), publicFile, bundle.CertificatesPEM(server.Certificate)},
		{certificateFile(probe.Certificate), publicFile, bundle.CertificatesPEM(probe.Certificate)},
		{markFile, publicFile, marked},
	} {
		if err := Create(filepath.Join(path, file.name), file.mode, file.data); err != nil {
			return err
		}
	}
	folder := Folder{path: path, ca: issuer.certificate}
	return folder.Log(now,
		Entry{Action: "init", Name: plan.Name, Certificate: issuer.certificate},
		Entry{Action: "issue-server", Name: plan.ServerName, Certificate: server.Certificate},
		Entry{Action: "issue-probe", Name: bundle.ProbeName, Certificate: probe.Certificate})
}

// IsFolder tells whether there is an authority at path.
func IsFolder(path string) bool {
	_, err := os.Stat(filepath.Join(path, markFile))
	return err == nil
}

// Open reads the authority at path.
func Open(path string) (Folder, error) {
	f := Folder{path: path}
	raw, err := os.ReadFile(f.at(markFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Folder{}, fmt.Errorf("opening the authority in %q: there is none (no %s in it): give its folder with --folder or VPNAMI_AUTHORITY, or make one with \"vpnami-pki init\"", path, markFile)
	case err != nil:
		return Folder{}, fmt.Errorf("opening the authority in %q: %w", path, err)
	}
	if err := decode(raw, &f.mark); err != nil {
		return Folder{}, fmt.Errorf("opening the authority in %q: reading %s: %w", path, markFile, err)
	}
	if f.mark.Schema != schema {
		return Folder{}, fmt.Errorf("opening the authority in %q: it is of schema %d, this program knows %d: use the vpnami-pki that made it, or a newer one", path, f.mark.Schema, schema)
	}
	if err := errors.Join(bundle.CheckName(f.mark.Name), bundle.CheckName(f.mark.ServerName)); err != nil {
		return Folder{}, fmt.Errorf("opening the authority in %q: reading %s: %w", path, markFile, err)
	}
	if f.ca, err = f.certificate("ca.crt"); err != nil {
		return Folder{}, fmt.Errorf("opening the authority in %q: %w", path, err)
	}
	return f, nil
}

// lockWait is how long a command waits for another to end: longer than any but
// a huge one takes, shorter than a person's patience.
const lockWait = 10 * time.Second

// Lock makes this process the only one that writes, until release is called.
func (f Folder) Lock(ctx context.Context) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock := flock.New(f.at("lock"))
	const pause = 50 * time.Millisecond
	if held, err := lock.TryLockContext(ctx, pause); err != nil || !held {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("locking the authority in %q: another vpnami-pki is writing in it for more than %s: wait for it to end", f.path, lockWait)
		}
		return nil, fmt.Errorf("locking the authority in %q: %w", f.path, err)
	}
	return lock.Unlock, nil
}

// Unlock opens the CA's key.
func (f Folder) Unlock(passphrase []byte, now time.Time) (Issuer, error) {
	text, err := os.ReadFile(f.at("ca.key"))
	if err != nil {
		return Issuer{}, fmt.Errorf("opening the CA's key: %w", err)
	}
	key, err := unlockKey(text, passphrase)
	if err != nil {
		return Issuer{}, fmt.Errorf("opening the CA's key %q: %w", f.at("ca.key"), err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(f.ca.PublicKey) {
		return Issuer{}, fmt.Errorf("opening the CA's key %q: it does not belong to %q", f.at("ca.key"), f.at("ca.crt"))
	}
	return Issuer{certificate: f.ca, key: key, random: rand.Reader, now: now}, nil
}

// Server reads what the gateway gets. The generation is the publisher's to
// set.
func (f Folder) Server() (bundle.Server, error) {
	server := bundle.Server{Authority: f.mark.Name, CA: []*x509.Certificate{f.ca}}
	var err error
	if server.Certificate, err = f.certificate("server/server.crt"); err != nil {
		return bundle.Server{}, err
	}
	if server.Probe.Certificate, err = f.certificate("server/probe.crt"); err != nil {
		return bundle.Server{}, err
	}
	for name, into := range map[string]*bundle.Secret{
		"server.key": &server.Key, "tls-crypt-v2.key": &server.TLSCryptV2,
		"probe.key": &server.Probe.Key, "probe-tls-crypt-v2.key": &server.Probe.TLSCryptV2,
	} {
		raw, err := os.ReadFile(f.at("server", name))
		if err != nil {
			return bundle.Server{}, fmt.Errorf("reading the server's keys: %w", err)
		}
		*into = bundle.NewSecret(raw)
	}
	return server, nil
}

// CRL reads the revocation list last signed.
func (f Folder) CRL() (*x509.RevocationList, error) {
	raw, err := os.ReadFile(f.at("crl.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the CRL: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "X509 CRL" {
		return nil, fmt.Errorf("reading the CRL %q: it is not the PEM of a CRL (is the file damaged?)", f.at("crl.pem"))
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the CRL %q: %w", f.at("crl.pem"), err)
	}
	return list, nil
}

// RenewCRL signs the CRL anew when half of its life is over. Issuing calls it,
// because the key is open then.
func (f Folder) RenewCRL(issuer Issuer) error {
	list, err := f.CRL()
	if err != nil {
		return err
	}
	if issuer.now.Before(list.NextUpdate.Add(-CRLLife / 2)) {
		return nil
	}
	renewed, err := issuer.crl(new(big.Int).Add(list.Number, big.NewInt(1)), list.RevokedCertificateEntries)
	if err != nil {
		return err
	}
	if err := Replace(f.at("crl.pem"), publicFile, bundle.CRLPEM(renewed)); err != nil {
		return err
	}
	return f.Log(issuer.now, Entry{Action: "renew-crl", Name: renewed.Number.String()})
}

func (f Folder) certificate(name string) (*x509.Certificate, error) {
	raw, err := os.ReadFile(f.at(name))
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	found, err := bundle.ParseCertificates(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %q: %w (is the file damaged?)", f.at(name), err)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("reading the certificate %q: there are %d in it, one was expected", f.at(name), len(found))
	}
	return found[0], nil
}

func certificateFile(c *x509.Certificate) string {
	return "certificates/" + strings.ToLower(c.SerialNumber.Text(16)) + ".crt"
}

func encode(v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	return append(raw, '\n'), err
}

// decode is strict: a misspelt field would otherwise be an empty one.
func decode(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it ends too early (is the file damaged?)")
		}
		return fmt.Errorf("%w (is the file damaged?)", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after its end (is the file damaged?)")
	}
	return nil
}
