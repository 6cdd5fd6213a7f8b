// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// leastRSA is what OpenSSL takes at security level 2 (112 bits of security),
// which is what OpenVPN's "tls-cert-profile preferred" sets:
// https://docs.openssl.org/3.0/man3/SSL_CTX_set_security_level/
const leastRSA = 2048

const allowedStrength = "a certificate with a key on P-256, P-384 or P-521, an Ed25519 key, or an RSA key of 2048 bits or more"

// CheckKey refuses a public key that OpenVPN does not connect with; the error
// says what it is.
func CheckKey(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve) {
			return errors.New("a key on the curve " + key.Params().Name)
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < leastRSA {
			return fmt.Errorf("an RSA key of %d bits, which OpenVPN refuses", bits)
		}
	default:
		return fmt.Errorf("a key of the kind %T, which is not known here", public)
	}
	return nil
}

// checkStrength refuses the keys and signatures that OpenVPN does not start or
// connect with. It is for CA certificates too: the profile counts for the
// whole chain.
func checkStrength(field string, c *x509.Certificate) error {
	refuse := func(problem, allowed string) error {
		return &FieldError{Field: field, Problem: fmt.Sprintf("(%q) %s", shorten(c.Subject.CommonName), problem), Allowed: allowed}
	}
	if err := CheckKey(c.PublicKey); err != nil {
		return refuse("has "+err.Error(), allowedStrength)
	}
	// What a root says of itself proves nothing, and OpenSSL does not look.
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		return nil
	}
	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return nil
	default:
		return refuse(fmt.Sprintf("is signed with %s, which OpenVPN refuses", c.SignatureAlgorithm), "a certificate signed with SHA-256, SHA-384, SHA-512 or Ed25519")
	}
}
