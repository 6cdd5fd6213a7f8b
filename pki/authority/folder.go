// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package authority keeps a certificate authority in a folder on the
// operator's machine.
//
//	authority.json         what marks the folder: schema, name, server name, and
//	                       which of the folders below are in force
//	ca/N/                  a CA: ca.crt, ca.key (encrypted under a passphrase; or
//	                       kms.json, when AWS KMS holds the key),
//	                       revoked.tsv (what is revoked) and crl.pem (the same,
//	                       signed); there are two while one replaces the other
//	server/N/              what the gateway gets: server.crt server.key
//	                       tls-crypt-v2.key probe.crt probe.key probe-tls-crypt-v2.key
//	people/<name>.json     the roster: one person and their certificates
//	certificates/<serial>.crt
//	                       every certificate ever signed, by serial in hex
//	published.json         what was published where: the last generation, and hashes
//	                       of all that was ever put
//	log.jsonl              what was done when, by whom; lines are only added. By it an
//	                       older copy of ca/N is known that was put back
//	lock                   held by the one command that may write
//	publish.lock           held by the one publish that is under way
//
// A file per person makes issuing to one of a hundred thousand as quick as to
// the first, and leaves nothing half written: a person is in the roster when
// their file is there, whole. Everything else is written before it. What is
// several files, a CA or the gateway's keys, is a folder with a number: it is
// filled under a temporary name, and in force from when authority.json, replaced as
// one, names it. What the log told of and was not done, a second line takes back, whose
// action ends in "-failed".
//
// The folder is 0700. The gateway's own keys lie in it unencrypted, so that a
// publish needs no passphrase; who takes them can pose as the gateway, but
// cannot let anybody in.
package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

const (
	schema   = 1
	markFile = "authority.json"
)

// Folder is an authority on disk.
type Folder struct {
	path string
	mark mark
	raw  []byte // the mark as it was read
	// cas are the CAs in force: the one that signs, and after it the one that
	// it is replacing, if any.
	cas []*x509.Certificate
	// lock is of the file "lock", where [Folder.Lock] has given this; nil otherwise.
	lock *flock.Flock
}

type mark struct {
	Schema     int       `json:"schema"`
	Name       string    `json:"name"`
	ServerName string    `json:"server_name"`
	ServerSANs []string  `json:"server_sans,omitempty"` // more DNS names of the gateway
	Created    time.Time `json:"created"`
	Network    string    `json:"network"`            // the tunnel's, for people's own addresses
	Signing    int       `json:"signing"`            // the CA that signs, in ca/
	Previous   int       `json:"previous,omitempty"` // the CA that it replaces, if any
	Server     int       `json:"server"`             // what the gateway gets, in server/
	// Abandoned are CAs in whose place another was made before they began.
	Abandoned []int `json:"abandoned,omitempty"`
	// Skipped are numbers of CAs that were never in force here: what a kill left of
	// making one, or one of a newer copy of the folder.
	Skipped []int `json:"skipped,omitempty"`
	// Wrapping is "none" while the gateway takes profiles of another program.
	Wrapping bundle.Wrapping `json:"wrapping,omitempty"`
	// ImportedUntil is when the last certificate of another program ends.
	ImportedUntil time.Time `json:"imported_until,omitzero"`
}

// numbers of the CAs in force, in the order of [Folder.CAs].
func (m mark) numbers() []int {
	if m.Previous == 0 {
		return []int{m.Signing}
	}
	return []int{m.Signing, m.Previous}
}

// Name is the authority's name.
func (f Folder) Name() string { return f.mark.Name }

// ServerName is the common name of the server's certificate.
func (f Folder) ServerName() string { return f.mark.ServerName }

// Network is the tunnel network that people's own addresses are of.
func (f Folder) Network() netip.Prefix {
	network, _ := ParseNetwork(f.mark.Network) // [Open] has looked at it
	return network
}

// ParseNetwork reads a tunnel network.
func ParseNetwork(s string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(s)
	if err != nil || !network.Addr().Is4() || network != network.Masked() || network.Bits() < 16 || network.Bits() > 29 {
		return netip.Prefix{}, fmt.Errorf("the tunnel network %q: give an IPv4 network of /16 to /29, such as %q", s, bundle.DefaultNetwork)
	}
	return network, nil
}

// Path is where the folder is.
func (f Folder) Path() string { return f.path }

// CA is the certificate of the CA that signs.
func (f Folder) CA() *x509.Certificate { return f.cas[0] }

// CAs are the certificates that those of people may chain to: the CA that
// signs, and after it the one that it is replacing, if any.
func (f Folder) CAs() []*x509.Certificate { return f.cas }

func (f Folder) at(names ...string) string {
	return filepath.Join(append([]string{f.path}, names...)...)
}

// IsFolder tells whether there is an authority at path.
func IsFolder(path string) bool {
	_, err := os.Stat(filepath.Join(path, markFile))
	return err == nil
}

// Holds tells whether a path, there or not yet, is the authority's folder or lies
// in it.
func (f Folder) Holds(path string) bool {
	path, err := Resolve(path)
	if err != nil {
		return false
	}
	own, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, own) {
			return true
		}
	}
	return false
}

// Resolve is a path without links, as far as it is there; what is to be made lies below
// that.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for {
		resolved, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if path == filepath.Dir(path) {
			return "", err
		}
		path, rest = filepath.Dir(path), filepath.Join(filepath.Base(path), rest)
	}
}

// Reopen reads the authority anew where another command has changed what is in
// force. The certificate of a CA never changes.
func (f Folder) Reopen() (Folder, error) {
	raw, err := os.ReadFile(f.at(markFile))
	if err == nil && bytes.Equal(raw, f.raw) {
		return f, nil
	}
	current, err := Open(f.path)
	current.lock = f.lock
	return current, err
}

// hasFirst tells whether there is the first CA of an authority: it stays for ever.
func (f Folder) hasFirst() bool {
	_, err := os.Stat(f.at(caFile(1, "ca.crt")))
	return err == nil
}

// putBackCA is the way where the certificate of a CA is lost.
const putBackCA = putBack + "; if there is none, the secret that was published last has it, PREFIX/server in its field \"ca\", and so has each profile, in its <ca>; where two are there, the first is of the CA that signs, the second of the one that it replaces"

// Open reads the authority at path.
func Open(path string) (Folder, error) {
	f := Folder{path: path}
	raw, err := os.ReadFile(f.at(markFile))
	f.raw = raw
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.hasFirst():
		return Folder{}, fmt.Errorf("opening the authority in %q: %s is gone, and the rest is there: %s", path, markFile, putBack)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Folder{}, fmt.Errorf("opening the authority in %q: there is none (no %s in it): give its folder with --folder or VPNAMI_AUTHORITY, or make one with \"vpnami-pki init\"", path, markFile)
	case err != nil:
		return Folder{}, fmt.Errorf("opening the authority in %q: %w", path, err)
	}
	damaged := func(err error) (Folder, error) {
		return Folder{}, fmt.Errorf("opening the authority in %q: reading %s: %w: %s", path, markFile, err, putBack)
	}
	if err := decode(raw, &f.mark); err != nil {
		return damaged(err)
	}
	if f.mark.Schema != schema {
		return Folder{}, fmt.Errorf("opening the authority in %q: it is of schema %d, this program knows %d: use the vpnami-pki that made it, or a newer one", path, f.mark.Schema, schema)
	}
	if err := errors.Join(bundle.CheckName(f.mark.Name), bundle.CheckName(f.mark.ServerName)); err != nil {
		return damaged(err)
	}
	if f.mark.Signing < 1 || f.mark.Previous < 0 || f.mark.Previous == f.mark.Signing || f.mark.Server < 1 {
		return damaged(fmt.Errorf("CA %d signs in place of CA %d, with server %d: these are no numbers of folders (is the file damaged?)", f.mark.Signing, f.mark.Previous, f.mark.Server))
	}
	if f.mark.Wrapping != bundle.TLSCryptV2 && f.mark.Wrapping != bundle.NoWrapping {
		return damaged(fmt.Errorf("the wrapping is %q, it is \"none\" or left out (is the file damaged?)", string(f.mark.Wrapping)))
	}
	if err := checkSANs(f.mark.ServerSANs); err != nil {
		return damaged(err)
	}
	if _, err := ParseNetwork(f.mark.Network); err != nil {
		return damaged(err)
	}
	for _, number := range f.mark.numbers() {
		certificate, err := f.certificate(caFile(number, "ca.crt"))
		if err != nil {
			return Folder{}, fmt.Errorf("opening the authority in %q: %w: %s", path, err, putBackCA)
		}
		f.cas = append(f.cas, certificate)
	}
	return f, nil
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

func certificateFile(c *x509.Certificate) string { return certificateFileOf(c.SerialNumber) }

func certificateFileOf(serial *big.Int) string {
	return filepath.Join("certificates", strings.ToLower(serial.Text(16))+".crt")
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
