// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// Open reads the three kinds of value and validates everything that can be
// known without a network: that they belong together, that the certificates
// chain to the CA, are for what they are used for and good at the time now,
// that the CRL is the CA's.
//
// A CRL past its nextUpdate is a warning: the serials in it stay revoked, and
// to lock everybody out for a missed date would do harm and no good.
func Open(server, head []byte, shards [][]byte, now time.Time) (Bundle, []Warning, error) {
	var b Bundle
	var err error
	if b.Server, err = OpenServer(server); err != nil {
		return Bundle{}, nil, err
	}
	if b.Head, err = OpenHead(head); err != nil {
		return Bundle{}, nil, err
	}
	if found := hash(server); found != b.Head.ServerSHA256 {
		return Bundle{}, nil, fmt.Errorf("matching the access head (generation %d) with the server secret (generation %d): the head belongs to another server secret (sha256 %.12s..., this one is %.12s...): a publish is under way or broke off, publish again if this stays",
			b.Head.Generation, b.Server.Generation, b.Head.ServerSHA256, found)
	}
	if b.Head.Generation < b.Server.Generation {
		return Bundle{}, nil, fmt.Errorf("matching the access head with the server secret: the head is of generation %d, older than the server secret's %d", b.Head.Generation, b.Server.Generation)
	}
	if b.Access, err = OpenAccess(b.Head, shards); err != nil {
		return Bundle{}, nil, err
	}
	warnings, err := b.check(now)
	if err != nil {
		return Bundle{}, nil, fmt.Errorf("checking the secret of authority %q: %w", b.Server.Authority, err)
	}
	return b, warnings, nil
}

func (b Bundle) check(now time.Time) ([]Warning, error) {
	var warnings []Warning
	s := b.Server
	pool := x509.NewCertPool()
	for i, ca := range s.CA {
		field := fmt.Sprintf("ca[%d]", i)
		if !ca.BasicConstraintsValid || !ca.IsCA {
			return nil, &FieldError{Field: field, Problem: fmt.Sprintf("(%q) is not a CA", ca.Subject.CommonName), Allowed: "a certificate with the basic constraint CA"}
		}
		// Without the extension a key may sign both (RFC 5280, section 4.2.1.3): the
		// CAs of easy-rsa 2 are so.
		const signs = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		if ca.KeyUsage != 0 && ca.KeyUsage&signs != signs {
			return nil, &FieldError{Field: field, Problem: fmt.Sprintf("(%q) may not sign certificates and CRLs", ca.Subject.CommonName), Allowed: "a certificate with the key usages certificate sign and CRL sign"}
		}
		if err := checkStrength(field, ca); err != nil {
			return nil, err
		}
		// An ended CA may lie beside the new one while people move over; that
		// the one in use has not ended is seen by the chains below.
		if now.After(ca.NotAfter.Add(-EndsSoon)) {
			warnings = append(warnings, Warning{WarnCAEnds, fmt.Sprintf("the CA certificate %q ends on %s: after that nobody can connect", ca.Subject.CommonName, day(ca.NotAfter))})
		}
		pool.AddCert(ca)
	}
	if err := CheckName(s.Certificate.Subject.CommonName); err != nil {
		return nil, &FieldError{Field: "certificate", Problem: "has a refused common name (" + err.Error() + ")", Allowed: "a certificate with a name of the safe alphabet"}
	}
	if s.Certificate.Subject.CommonName == ProbeName {
		return nil, &FieldError{Field: "certificate", Problem: fmt.Sprintf("has the probe's common name %q", ProbeName), Allowed: "a certificate with a name of its own"}
	}
	if name := s.Probe.Certificate.Subject.CommonName; name != ProbeName {
		return nil, &FieldError{Field: "probe.certificate", Problem: fmt.Sprintf("has the common name %q", shorten(name)), Allowed: fmt.Sprintf("a certificate with the common name %q", ProbeName)}
	}
	if err := checkLeaf("certificate", s.Certificate, pool, x509.ExtKeyUsageServerAuth, now); err != nil {
		return nil, err
	}
	if err := checkLeaf("probe.certificate", s.Probe.Certificate, pool, x509.ExtKeyUsageClientAuth, now); err != nil {
		return nil, err
	}
	if now.After(s.Certificate.NotAfter.Add(-EndsSoon)) {
		warnings = append(warnings, Warning{WarnCertificateEnds, fmt.Sprintf("the server certificate %q ends on %s: issue and publish a new one before", s.Certificate.Subject.CommonName, day(s.Certificate.NotAfter))})
	}
	if now.After(s.Probe.Certificate.NotAfter.Add(-EndsSoon)) {
		warnings = append(warnings, Warning{WarnProbeEnds, fmt.Sprintf("the probe's certificate ends on %s: issue and publish a new one before", day(s.Probe.Certificate.NotAfter))})
	}
	more, err := b.checkCRL(now)
	return append(warnings, more...), err
}

func checkLeaf(field string, c *x509.Certificate, pool *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	use, other := "serverAuth", x509.ExtKeyUsageClientAuth
	if usage == x509.ExtKeyUsageClientAuth {
		use, other = "clientAuth", x509.ExtKeyUsageServerAuth
	}
	if c.IsCA {
		return &FieldError{Field: field, Problem: "is a CA", Allowed: "a certificate that can sign nothing"}
	}
	var has bool
	for _, u := range c.ExtKeyUsage {
		// A certificate good for both sides lets a stolen server key log in.
		if u == other || u == x509.ExtKeyUsageAny {
			return &FieldError{Field: field, Problem: "may be used for more than " + use, Allowed: "a certificate with the extended key usage " + use + " only"}
		}
		has = has || u == usage
	}
	if !has {
		return &FieldError{Field: field, Problem: "may not be used for " + use, Allowed: "a certificate with the extended key usage " + use}
	}
	// Every key exchange of today signs. The extension itself must be there:
	// "remote-cert-tls" on the other side refuses a certificate without it.
	if c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return &FieldError{Field: field, Problem: fmt.Sprintf("(%q) may not sign in TLS: its key usage lacks digital signature", shorten(c.Subject.CommonName)), Allowed: "a certificate with the key usage digital signature"}
	}
	if err := checkStrength(field, c); err != nil {
		return err
	}
	if now.Before(c.NotBefore) {
		return &FieldError{Field: field, Problem: fmt.Sprintf("(%q) begins at %s and it is %s", shorten(c.Subject.CommonName), stamp(c.NotBefore), stamp(now)), Allowed: "good already; is this machine's clock right?"}
	}
	if now.After(c.NotAfter) {
		return &FieldError{Field: field, Problem: fmt.Sprintf("(%q) ended at %s and it is %s", shorten(c.Subject.CommonName), stamp(c.NotAfter), stamp(now)), Allowed: "good still; issue and publish a new one"}
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return &FieldError{Field: field, Problem: "does not chain to \"ca\" (" + err.Error() + ")", Allowed: "issued by a CA that is good now"}
	}
	return nil
}

// checkCRL wants a list of each CA: without that of one, somebody whom it has
// revoked would come in.
func (b Bundle) checkCRL(now time.Time) ([]Warning, error) {
	lists, fields := b.Access.CRLs(), []string{"crl", "previous_crl"}
	if len(lists) != len(b.Server.CA) {
		return nil, &FieldError{Field: fields[len(lists)-1], Problem: fmt.Sprintf("is the last of %d, and \"ca\" has %d certificates", len(lists), len(b.Server.CA)), Allowed: "one for each CA, at most two, in their order"}
	}
	var warnings []Warning
	for i, list := range lists {
		if list.CheckSignatureFrom(b.Server.CA[i]) != nil {
			return nil, &FieldError{Field: fields[i], Problem: fmt.Sprintf("(issuer %q) is not signed by a certificate of \"ca\", of the same place", shorten(list.Issuer.CommonName)), Allowed: "the authority's own"}
		}
		if err := b.checkRevokes(list); err != nil {
			return nil, err
		}
		if list.NextUpdate.IsZero() || now.After(list.NextUpdate) {
			warnings = append(warnings, Warning{WarnCRLPast, fmt.Sprintf("the CRL (number %s) was to be renewed by %s: what it revokes stays revoked, publish a new one", list.Number, stamp(list.NextUpdate))})
		}
		if now.Before(list.ThisUpdate) {
			warnings = append(warnings, Warning{WarnCRLFuture, fmt.Sprintf("the CRL (number %s) is of %s and it is %s: is this machine's clock right?", list.Number, stamp(list.ThisUpdate), stamp(now))})
		}
	}
	return warnings, nil
}

// checkRevokes refuses a list that names the gateway's own certificates.
func (b Bundle) checkRevokes(list *x509.RevocationList) error {
	for _, leaf := range []struct {
		field  string
		serial *big.Int
	}{{"certificate", b.Server.Certificate.SerialNumber}, {"probe.certificate", b.Server.Probe.Certificate.SerialNumber}} {
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(leaf.serial) == 0 {
				return &FieldError{Field: leaf.field, Problem: fmt.Sprintf("(serial %s) is revoked", leaf.serial), Allowed: "a certificate that the CRL does not name"}
			}
		}
	}
	return nil
}

func day(t time.Time) string   { return t.UTC().Format(time.DateOnly) }
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
