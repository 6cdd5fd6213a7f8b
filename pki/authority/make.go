// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// Plan is an authority to be made.
type Plan struct {
	Path       string
	Name       string
	ServerName string   // empty: the name and "-vpn"
	ServerSANs []string // more DNS names in the gateway's certificate
	Network    string   // of the tunnel; empty: bundle.DefaultNetwork

	Adopted *Adopted // a CA that is there already, and what it signed; nil: a new one
	// Left are certificates of a gateway that [SweepBuilding] found: those of the CA are
	// told of in the log.
	Left []*x509.Certificate
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
	if err := checkNewSANs(p.ServerSANs); err != nil {
		return Plan{}, err
	}
	if p.ServerName == bundle.ProbeName {
		return Plan{}, fmt.Errorf("naming the server: the name %q is reserved", p.ServerName)
	}
	if p.Adopted != nil {
		if err := checkNotCA(p.Adopted.CA, p.ServerName); err != nil {
			return Plan{}, fmt.Errorf("naming the server: %w", err)
		}
	}
	if p.Network == "" {
		p.Network = bundle.DefaultNetwork
	}
	network, err := ParseNetwork(p.Network)
	if err != nil {
		return Plan{}, err
	}
	if !bundle.IsPrivate(network) { // nor does the gateway take it
		return Plan{}, fmt.Errorf("the tunnel network %q is of the internet's addresses, or none that a machine can have: give a part of %s, such as %q", p.Network, strings.Join(bundle.PrivateNetworks(), ", "), bundle.DefaultNetwork)
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
	// An empty one is replaced as a whole.
	if base := filepath.Base(p.Path); base == "." || base == ".." || base == string(filepath.Separator) {
		return Plan{}, fmt.Errorf("making the folder %q: give it a name of its own with --folder, such as %q", p.Path, p.Name)
	}
	if isMountPoint(p.Path) {
		return Plan{}, fmt.Errorf("making the folder %q: a file system is mounted there, so that it cannot be put in place as one: choose a folder in it, such as %q, with --folder", p.Path, filepath.Join(p.Path, p.Name))
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

// checkNewSANs is [checkSANs], and refuses addresses. A folder that has one opens
// all the same: somebody may have to be revoked.
func checkNewSANs(names []string) error {
	for _, name := range names {
		if isAddress(name) {
			return fmt.Errorf("naming the server: %q is an address, not a DNS name; give one such as \"vpn2.example.com\"", name)
		}
	}
	return checkSANs(names)
}

// checkSANs refuses names that cannot stand as DNS names in a certificate.
func checkSANs(names []string) error {
	for _, name := range names {
		if len(name) > maxDNSName || !isHostName(name) || bundle.CheckName(name) != nil {
			return fmt.Errorf("naming the server: %q is no DNS name; give one such as \"vpn2.example.com\"", name)
		}
	}
	return nil
}

// maxDNSName is RFC 1035's 255 octets, in the form that people write.
const maxDNSName = 253

// Make makes an authority: CA, server, probe, an empty CRL. The folder appears
// whole or not at all.
func Make(plan Plan, keeper Keeper, now time.Time) (Folder, error) {
	plan, err := plan.Check()
	if err != nil {
		return Folder{}, err
	}
	parent := filepath.Dir(filepath.Clean(plan.Path))
	if err := MakeFolders(parent); err != nil {
		return Folder{}, fmt.Errorf("making the folder %q: %w", plan.Path, err)
	}
	building, err := startBuilding(plan.Path)
	if err != nil {
		return Folder{}, fmt.Errorf("making the folder %q: %w", plan.Path, err)
	}
	held, err := hold(building)
	if err != nil {
		return Folder{}, errors.Join(fmt.Errorf("making the folder %q: %w", plan.Path, err), os.RemoveAll(building))
	}
	failed := func(err error) (Folder, error) {
		return Folder{}, errors.Join(err, held.Unlock(), os.RemoveAll(building))
	}
	if err := fill(building, plan, keeper, now); err != nil {
		return failed(fmt.Errorf("making the authority %q: %w", plan.Name, err))
	}
	// An empty folder was allowed above; os.Rename would not replace it.
	if err := os.Remove(plan.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(fmt.Errorf("making the folder %q: %w", plan.Path, err))
	}
	if err := renameHeld(building, plan.Path, held); err != nil {
		return failed(fmt.Errorf("making the folder %q: %w", plan.Path, err))
	}
	defer func() { _ = held.Unlock() }()
	if err := syncFolder(parent); err != nil {
		return Folder{}, err
	}
	return Open(plan.Path)
}

// filesAtOnce are far below the 256 open files of macOS, the least of the systems'
// defaults.
const filesAtOnce = 128

func fill(path string, plan Plan, keeper Keeper, now time.Time) error {
	key, keyFile, kept, err := keeper.newKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making the CA's key: %w", err)
	}
	var adopted Adopted
	var issuer Issuer
	if plan.Adopted == nil {
		issuer, err = newIssuer(caName(plan.Name, 1), 1, key, now, rand.Reader)
	} else {
		adopted = *plan.Adopted
		issuer, err = adopted.issuer(key, now, rand.Reader)
	}
	if err != nil {
		return err
	}
	list, err := issuer.crl(adopted.nextCRL(), adopted.Revoked)
	if err != nil {
		return err
	}
	wrapper, err := tlscrypt.NewServerKey(rand.Reader)
	if err != nil {
		return err
	}
	made := mark{Schema: schema, Name: plan.Name, ServerName: plan.ServerName, ServerSANs: plan.ServerSANs, Created: now.UTC().Truncate(time.Second), Network: plan.Network, Signing: 1, Server: 1, ImportedUntil: adopted.until()}
	marked, err := encode(made)
	if err != nil {
		return err
	}
	for _, folder := range []string{"ca/1", "server/1", "people", "certificates"} {
		if err := os.MkdirAll(filepath.Join(path, folder), folderMode); err != nil {
			return err
		}
	}
	files, certificates, err := serverFiles(issuer, made, wrapper)
	if err != nil {
		return err
	}
	revoked := encodeRevoked(adopted.Revoked)
	files = append(files,
		NewFile{caFile(1, "ca.crt"), publicFile, bundle.CertificatesPEM(issuer.certificate)},
		NewFile{caFile(1, keyFile), privateFile, kept},
		NewFile{caFile(1, "revoked.tsv"), privateFile, revoked},
		NewFile{caFile(1, "crl.pem"), publicFile, crlPEM(list)},
		NewFile{markFile, publicFile, marked})
	entries := []Entry{{Action: "init", Name: plan.Name, Certificate: issuer.certificate}}
	for _, c := range certificates {
		files = append(files, NewFile{certificateFile(c.certificate), publicFile, bundle.CertificatesPEM(c.certificate)})
		entries = append(entries, Entry{Action: c.action, Name: c.certificate.Subject.CommonName, Certificate: c.certificate})
	}
	for _, c := range plan.Left {
		entries = append(entries, leftBy(issuer.certificate, c)...)
	}
	more, taken, err := adopted.files()
	if err != nil {
		return err
	}
	files, entries = append(files, more...), append(entries, taken...)
	// At the end, where the log is looked into.
	entries = append(entries, signedEntry(issuer.certificate, caFiles{adopted.nextCRL(), hashOf(list), hashOf(revoked)}))
	log, err := logLines(now, entries...)
	if err != nil {
		return err
	}
	files = append(files, NewFile{logFile, privateFile, log})
	for i := range files {
		files[i].Path = filepath.Join(path, files[i].Path)
	}
	// Nothing counts before the folder has its name, and no system lets ten thousand
	// files be open at once.
	for some := range slices.Chunk(files, filesAtOnce) {
		if err := CreateAll(some); err != nil {
			return err
		}
	}
	for _, folder := range []string{"ca", "server"} {
		if err := syncFolder(filepath.Join(path, folder)); err != nil {
			return err
		}
	}
	return nil
}
