// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// takenKeys are those that [bundle.CheckKey] takes.
const takenKeys = "taken are keys on P-256, P-384 and P-521, Ed25519 keys, and RSA keys of 2048 bits or more"

// ParseRequest reads a certificate request (PKCS#10, PEM) for a person. Of it
// only the key counts; but a name of somebody else in it is a mistake, and
// refused.
func ParseRequest(text []byte, name string) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not the PEM of one certificate request: make one with \"openssl req -new\"")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is no certificate request that is read here: %w; %s", err, takenKeys)
	}
	if request.PublicKey == nil {
		return nil, fmt.Errorf("its key is of a kind that is not known here: %s", takenKeys)
	}
	if err := bundle.CheckKey(request.PublicKey); err != nil {
		return nil, fmt.Errorf("its key is not taken: %w; %s", err, takenKeys)
	}
	err = request.CheckSignature()
	if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); weak || errors.Is(err, x509.ErrUnsupportedAlgorithm) {
		return nil, fmt.Errorf("that it is signed with its own key cannot be seen: %w: make it with SHA-256 (\"openssl req -new -sha256\")", err)
	}
	if err != nil {
		return nil, fmt.Errorf("it is not signed with its own key: %w", err)
	}
	if cn := request.Subject.CommonName; cn != "" && cn != name {
		return nil, fmt.Errorf("it is of %+q, not of %q: issue to that name, or let the request have no name", cn, name)
	}
	return request.PublicKey, nil
}

// CheckRequestKey refuses a key that a person may not have: that of a CA, the
// gateway's, with which a thief of it could log in, or somebody else's, now or ever;
// and one of their own that was revoked, unless for a reason that says that nobody
// else has it. What was signed with a key is known by the certificates, which are all
// kept: it is not forgotten with the log, nor when a CA is replaced.
//
// It may be asked twice, before the folder is locked and after: what same has seen by
// then is not read again.
func (f Folder) CheckRequestKey(person Person, public crypto.PublicKey, same *SameKey) error {
	past, err := f.Past()
	if err != nil {
		return err
	}
	server, err := f.Server()
	if err != nil {
		return err
	}
	for _, c := range append(past.CAs, server.Certificate, server.Probe.Certificate) {
		if sameKey(public, c.PublicKey) {
			return fmt.Errorf("its key is that of %q: make another key", c.Subject.CommonName)
		}
	}
	if err := f.findSame(public, same); err != nil {
		return err
	}
	certificates := same.certificates
	// The list, or the log, may know more than revoked.tsv.
	if err := f.CheckListed(); err != nil {
		return err
	}
	// What has ended may have been revoked as well.
	standing, err := f.Standing(time.Time{})
	if err != nil {
		return err
	}
	if err := f.checkKnown(standing, certificates); err != nil {
		return fmt.Errorf("whether it was revoked with its key is not known: %w; or make another key", err)
	}
	if err := f.checkAllKept(standing, same); err != nil {
		return err
	}
	for _, c := range certificates {
		if name := nameOf(c); !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || !person.named(c) {
			return fmt.Errorf("its key is that of the certificate %s, of %s: make another key", c.SerialNumber, name)
		}
		if r, is := standing.revoked[c.SerialNumber.String()]; is && !r.Reason.leavesKey() {
			return fmt.Errorf("its key is that of the certificate %s, which was revoked on %s (%s): somebody else may have it: make another key", c.SerialNumber, r.At.Format(time.DateOnly), r.Reason)
		}
	}
	return nil
}

// checkKnown refuses where it is lost whether certificates of a key were revoked: what
// the CAs that signed them took back.
func (f Folder) checkKnown(standing Standing, certificates []*x509.Certificate) error {
	for _, c := range certificates {
		if err := f.lostOf(c, standing); err != nil {
			return fmt.Errorf("it is that of the certificate %s: %w", c.SerialNumber, err)
		}
	}
	return nil
}

// checkAllKept refuses where the file of a certificate is lost whose key nobody may have:
// of one that was revoked for a reason that does not leave it, or of the gateway. What
// another program left no copy of never had a file; the log tells which.
func (f Folder) checkAllKept(standing Standing, same *SameKey) error {
	lost := map[string]string{} // what is known of it, by serial
	for serial, r := range standing.revoked {
		if !r.Reason.leavesKey() && !same.saw(serial) {
			lost[serial] = fmt.Sprintf("which was revoked on %s (%s)", r.At.Format(time.DateOnly), r.Reason)
		}
	}
	all := len(lost) > 0
	had := map[string]bool{}
	err := f.eachLine(func(text []byte) {
		if !all && !bytes.Contains(text, []byte("issue-")) {
			return
		}
		var line logLine
		if json.Unmarshal(text, &line) != nil {
			return // a crash cut it off
		}
		serial := cmp.Or(line.Serial, line.Name)
		had[serial] = had[serial] || line.SHA256 != ""
		switch line.Action {
		case "import-revoked", "revoke-foreign":
			if !had[serial] {
				delete(lost, serial)
			}
		case loggedServer, loggedProbe:
			if !same.saw(serial) {
				lost[serial] = "which was the gateway's (" + line.Name + ")"
			}
		}
	})
	if err != nil && !isNotAll(err) {
		return err
	}
	for _, serial := range slices.Sorted(maps.Keys(lost)) {
		return fmt.Errorf("whether its key is that of the certificate %s, %s, is not known: %q is gone: %s, or take it out of the profile that was made with it; without --csr a key is made here, for which that does not matter", serial, lost[serial], f.at(fileOfDecimal(serial)), putBack)
	}
	return nil
}

// fileOfDecimal is [certificateFileOf] a decimal serial.
func fileOfDecimal(serial string) string {
	number, ok := parseSerial(serial)
	if !ok {
		return ""
	}
	return certificateFileOf(number)
}

// lostOf is why it is not known whether the CA that signed a certificate took it back;
// nil, if it is known.
func (f Folder) lostOf(c *x509.Certificate, standing Standing) error {
	if _, err := f.signerOf(c); err == nil {
		return nil // in force, and read
	}
	for _, number := range f.replaced() {
		if ca, err := f.certificate(caFile(number, "ca.crt")); err == nil && c.CheckSignatureFrom(ca) == nil {
			return standing.unread[number]
		}
	}
	// It is weak, or of no CA of ours, unless the certificate of one is lost.
	for _, number := range slices.Sorted(maps.Keys(standing.unread)) {
		return standing.unread[number]
	}
	return nil
}

// named tells whether a certificate has the name of a person.
func (p Person) named(c *x509.Certificate) bool {
	name := c.Subject.CommonName
	return name == p.Name || p.CommonName != "" && name == p.CommonName
}

// SameKey are the kept certificates of a key, of those that were looked at.
type SameKey struct {
	certificates []*x509.Certificate
	seen         map[string]bool // by file
}

// saw tells whether there is a certificate with a decimal serial.
func (s *SameKey) saw(serial string) bool { return s.seen[filepath.Base(fileOfDecimal(serial))] }

// findSame looks at those that it has not seen. To parse them all would take ten times
// as long as to look for the key's bits in them.
func (f Folder) findSame(public crypto.PublicKey, same *SameKey) error {
	bits, err := keyBits(public)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(f.at("certificates"))
	if err != nil {
		return fmt.Errorf("looking for certificates of the same key: %w", err)
	}
	if same.seen == nil {
		same.seen = make(map[string]bool, len(entries))
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".crt" || same.seen[entry.Name()] {
			continue // what a kill left, or known
		}
		path := f.at("certificates", entry.Name())
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("looking for certificates of the same key: %w", err)
		}
		block, _ := pem.Decode(raw)
		if block == nil {
			return fmt.Errorf("looking for certificates of the same key: %q is not the PEM of a certificate (is the file damaged?): %s; without --csr a key is made here, for which that does not matter", path, putBack)
		}
		same.seen[entry.Name()] = true
		if !bytes.Contains(block.Bytes, bits) {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("looking for certificates of the same key: %q: %w: %s", path, err, putBack)
		}
		same.certificates = append(same.certificates, certificate)
	}
	return nil
}

// keyBits is the key itself in its DER, without what kind it is, which programs write
// in more than one way.
func keyBits(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	return info.Key.Bytes, nil
}
