// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package easyrsa

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// PKI is what easy-rsa keeps.
type PKI struct {
	Path         string
	CA           *x509.Certificate
	Entries      []Entry
	Certificates map[string]*x509.Certificate // of the CA, by serial in decimal
	Weak         map[string]*x509.Certificate // those that are signed so that OpenVPN of today refuses them
	Twice        map[string]string            // of all of them, where another has the same serial: the other's name
	SetAside     map[string]string            // of all of them, those that lie among the revoked: the folder
	CRLNumber    *big.Int                     // of the list last signed; 0 when there is none
	Listed       []*big.Int                   // what is on that list
	keyFile      string
}

// layout is where the files are, in easy-rsa 3 and 2.
type layout struct {
	key     string
	issued  []string
	revoked []string
}

func layouts() []layout {
	return []layout{
		{
			key:     "private/ca.key",
			issued:  []string{"issued", "certs_by_serial", "renewed/issued", "renewed/certs_by_serial", "expired"},
			revoked: []string{"revoked/certs_by_serial"},
		},
		{key: "ca.key", issued: []string{"."}},
	}
}

// Read reads the PKI in a folder, or in the folder "pki" (easy-rsa 3) or "keys"
// (easy-rsa 2) in it.
func Read(path string) (PKI, error) {
	for _, folder := range []string{path, filepath.Join(path, "pki"), filepath.Join(path, "keys")} {
		for _, where := range layouts() {
			if isFile(filepath.Join(folder, "ca.crt")) && isFile(filepath.Join(folder, "index.txt")) && isFile(filepath.Join(folder, where.key)) {
				return read(folder, where)
			}
		}
	}
	return PKI{}, fmt.Errorf("reading the PKI of easy-rsa in %q: it is none: ca.crt, index.txt and private/ca.key (easy-rsa 3) or ca.key (easy-rsa 2) are looked for in it, in pki/ and in keys/", path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func read(folder string, where layout) (PKI, error) {
	failed := func(file string, err error) error {
		return fmt.Errorf("reading the PKI of easy-rsa: %q: %w", filepath.Join(folder, file), err)
	}
	p := PKI{Path: folder, Certificates: map[string]*x509.Certificate{}, Weak: map[string]*x509.Certificate{}, Twice: map[string]string{}, SetAside: map[string]string{}, CRLNumber: new(big.Int), keyFile: filepath.Join(folder, where.key)}
	raw, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return PKI{}, failed("ca.crt", err)
	}
	if p.CA, err = onlyCertificate(raw); err != nil {
		return PKI{}, failed("ca.crt", err)
	}
	if raw, err = os.ReadFile(filepath.Join(folder, "index.txt")); err != nil {
		return PKI{}, failed("index.txt", err)
	}
	if p.Entries, err = ParseIndex(raw); err != nil {
		return PKI{}, failed("index.txt", err)
	}
	for _, issued := range where.issued {
		if _, err := p.collect(filepath.Join(folder, issued)); err != nil {
			return PKI{}, err
		}
	}
	for _, revoked := range where.revoked {
		serials, err := p.collect(filepath.Join(folder, revoked))
		if err != nil {
			return PKI{}, err
		}
		for _, serial := range serials {
			p.SetAside[serial] = revoked
		}
	}
	if raw, err = os.ReadFile(filepath.Join(folder, "crl.pem")); err == nil {
		block, _ := pem.Decode(raw)
		if block == nil {
			return PKI{}, failed("crl.pem", errors.New("it is no PEM (is the file damaged?)"))
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return PKI{}, failed("crl.pem", err)
		}
		if list.Number != nil {
			p.CRLNumber = list.Number
		}
		for _, entry := range list.RevokedCertificateEntries {
			p.Listed = append(p.Listed, entry.SerialNumber)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return PKI{}, failed("crl.pem", err)
	}
	return p, nil
}

// collect reads the certificates of the CA in a folder, and returns their serials
// in decimal.
func (p *PKI) collect(folder string) ([]string, error) {
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	entries, err := os.ReadDir(folder) // also through a link, which must lead somewhere
	if err != nil {
		return nil, fmt.Errorf("reading the PKI of easy-rsa: %w", err)
	}
	var serials []string
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if extension != ".crt" && extension != ".pem" || entry.Name() == "crl.pem" {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		info, err := os.Stat(path) // a link counts as what it leads to
		if err != nil {
			return nil, fmt.Errorf("reading the PKI of easy-rsa: %w: if it is a link, put back what it leads to, or take the link away", err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the PKI of easy-rsa: %w", err)
		}
		certificate, err := onlyCertificate(raw)
		if err != nil {
			continue // dh2048.pem, or what an operator put there
		}
		serial := certificate.SerialNumber.String()
		err = certificate.CheckSignatureFrom(p.CA)
		_, weak := errors.AsType[x509.InsecureAlgorithmError](err)
		if err != nil && !weak {
			continue // of another CA
		}
		if other := cmp.Or(p.Certificates[serial], p.Weak[serial]); other != nil && !other.Equal(certificate) {
			p.Twice[serial] = certificate.Subject.CommonName
			continue
		}
		if weak {
			p.Weak[serial] = certificate
		} else {
			p.Certificates[serial] = certificate
		}
		serials = append(serials, serial)
	}
	return serials, nil
}

// onlyCertificate passes over the text that OpenSSL writes before the PEM.
func onlyCertificate(raw []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("there is no certificate in it (is the file damaged?)")
	}
	if another, _ := pem.Decode(rest); another != nil {
		return nil, errors.New("there is more than one certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

// ErrPassphrase is that a passphrase does not open the CA's key.
var ErrPassphrase = errors.New("the passphrase is wrong")

// Unlock opens the CA's key. It asks for a passphrase only if the key is
// encrypted: as PKCS #8, or as OpenSSL did before 1.0.
func (p PKI) Unlock(passphrase func() ([]byte, error)) (crypto.Signer, error) {
	key, err := p.unlock(passphrase)
	if err != nil {
		return nil, fmt.Errorf("opening the CA's key %q: %w", p.keyFile, err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(p.CA.PublicKey) {
		return nil, fmt.Errorf("opening the CA's key %q: it does not belong to ca.crt beside it", p.keyFile)
	}
	return key, nil
}

func (p PKI) unlock(passphrase func() ([]byte, error)) (crypto.Signer, error) {
	raw, err := os.ReadFile(p.keyFile)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(raw)
	if block != nil && block.Type == "EC PARAMETERS" { // which "openssl ecparam -genkey" puts before the key
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("it is no PEM (is the file damaged?)")
	}
	der := block.Bytes
	var word []byte
	old := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // easy-rsa 2 wrote keys so; nothing is written so here
	if old || block.Type == "ENCRYPTED PRIVATE KEY" {
		if word, err = passphrase(); err != nil {
			return nil, err
		}
	}
	switch {
	case old:
		if der, err = x509.DecryptPEMBlock(block, word); err != nil { //nolint:staticcheck // as above
			return nil, ErrPassphrase
		}
	case block.Type == "ENCRYPTED PRIVATE KEY":
		key, err := pkcs8.ParsePKCS8PrivateKey(der, word)
		if err != nil && isUnknown(err) {
			return nil, fmt.Errorf("it is encrypted in a way that is not read here (%w): encrypt a copy of the PKI's key anew, with \"openssl pkcs8 -topk8 -v2 aes-256-cbc\"", err)
		}
		if err != nil {
			return nil, ErrPassphrase
		}
		return signerOf(key)
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return signerOf(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if old {
		return nil, ErrPassphrase // the padding fitted by chance
	}
	return nil, fmt.Errorf("it is a %q, not a private key that is known here: write a copy of the PKI's key anew, with \"openssl pkcs8 -topk8\"", block.Type)
}

// isUnknown tells whether a key was not even tried to be decrypted. The library
// has words for it only.
func isUnknown(err error) bool {
	return slices.ContainsFunc([]string{"unsupported", "only PKCS #5", "only PBES2", "invalid KDF", "invalid cipher", "invalid PBES2"}, func(words string) bool {
		return strings.HasPrefix(err.Error(), "pkcs8: "+words)
	})
}

func signerOf(key any) (crypto.Signer, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is a key that cannot sign")
	}
	return signer, nil
}

// CheckCA refuses a CA with which nobody of today connects.
func (p PKI) CheckCA() error {
	failed := func(format string, args ...any) error {
		return fmt.Errorf("taking over the CA %+q: "+format+": make a new authority with \"vpnami-pki init\"", append([]any{p.CA.Subject.CommonName}, args...)...)
	}
	if !p.CA.IsCA {
		return failed("its certificate is not that of a CA")
	}
	if !bytes.Equal(p.CA.RawIssuer, p.CA.RawSubject) {
		return failed("it is signed by another, %+q, and OpenVPN wants the root", p.CA.Issuer.CommonName)
	}
	if err := bundle.CheckKey(p.CA.PublicKey); err != nil {
		return failed("it has %w", err)
	}
	if len(p.CA.SubjectKeyId) == 0 {
		return failed("its certificate has no subject key identifier")
	}
	if p.CA.KeyUsage != 0 && p.CA.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return failed("its certificate does not allow it to sign revocations")
	}
	return nil
}

// CheckIndex refuses an index that says less than what lies beside it: it was
// cut off, or comes from an older copy, and what it lacks may be a revocation.
func (p PKI) CheckIndex() error {
	states := map[string]State{}
	for _, e := range p.Entries {
		states[e.Serial.String()] = e.State
	}
	for _, serial := range slices.Sorted(maps.Keys(p.Twice)) {
		if states[serial] != Revoked {
			one := cmp.Or(p.Certificates[serial], p.Weak[serial])
			return fmt.Errorf("reading the PKI of easy-rsa in %q: two certificates have the serial %s, those of %+q and %+q, and index.txt cannot tell which it means (were index.txt and serial of an older copy once?): revoke that serial there, or move the wrong one away", p.Path, Hex(one.SerialNumber), one.Subject.CommonName, p.Twice[serial])
		}
	}
	const older = "is index.txt cut off, or of an older copy? put the right one there"
	for _, serial := range p.Listed {
		if states[serial.String()] != Revoked {
			return fmt.Errorf("reading the PKI of easy-rsa in %q: crl.pem revokes the certificate %s, index.txt does not: %s, or revoke it with easy-rsa again", p.Path, Hex(serial), older)
		}
	}
	for _, serial := range slices.Sorted(maps.Keys(p.SetAside)) {
		if states[serial] != Revoked {
			return fmt.Errorf("reading the PKI of easy-rsa in %q: the certificate %s lies in %s, and index.txt does not revoke it: %s", p.Path, Hex(cmp.Or(p.Certificates[serial], p.Weak[serial]).SerialNumber), p.SetAside[serial], older)
		}
	}
	for _, serial := range slices.Sorted(maps.Keys(p.Certificates)) {
		if c := p.Certificates[serial]; states[serial] == 0 && !c.Equal(p.CA) {
			return fmt.Errorf("reading the PKI of easy-rsa in %q: the certificate %s of %+q is there and not in index.txt: %s, or move the certificate away", p.Path, Hex(c.SerialNumber), c.Subject.CommonName, older)
		}
	}
	return nil
}

// RevokeLost is the PKI with every line revoked that is good by index.txt and of which
// there is no certificate: somebody removed the file, and easy-rsa revokes no
// certificate that it does not have. It returns the lines' subjects as well.
func (p PKI) RevokeLost(now time.Time) (PKI, []string) {
	var lost []string
	p.Entries = slices.Clone(p.Entries)
	for i, e := range p.Entries {
		serial := e.Serial.String()
		if e.State == Revoked || e.Serial.Cmp(p.CA.SerialNumber) == 0 || !now.Before(e.NotAfter) || cmp.Or(p.Certificates[serial], p.Weak[serial]) != nil {
			continue
		}
		p.Entries[i].State, p.Entries[i].At = Revoked, now.UTC().Truncate(time.Second)
		lost = append(lost, fmt.Sprintf("%+q, serial %s", e.Subject, Hex(e.Serial)))
	}
	return p, lost
}

// Signs tells whether OpenSSL takes what is signed with the key of a certificate: by
// its basic constraints or, where it has none, by what old CAs had instead
// (X509_check_ca).
func Signs(c *x509.Certificate) bool {
	if c.BasicConstraintsValid {
		return c.IsCA
	}
	if c.KeyUsage != 0 {
		return c.KeyUsage&x509.KeyUsageCertSign != 0
	}
	for _, e := range c.Extensions {
		var kinds asn1.BitString
		if _, err := asn1.Unmarshal(e.Value, &kinds); e.Id.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 1}) && err == nil { // nsCertType
			return kinds.At(5) == 1 || kinds.At(6) == 1 || kinds.At(7) == 1 // CAs for TLS, mail and code
		}
	}
	return false
}
