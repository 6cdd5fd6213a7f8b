// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

const (
	// CALife is ten years, as easy-rsa's: a CA is replaced by a roll-over that
	// touches every client, so not often.
	CALife = 10 * 365 * 24 * time.Hour
	// ServerLife is easy-rsa 3's default (EASYRSA_CERT_EXPIRE), 825 days.
	ServerLife = 825 * 24 * time.Hour
	// ClientLife is a year: long enough that people are not asked often, short
	// enough that one who was forgotten falls out.
	ClientLife = 365 * 24 * time.Hour
	// CRLLife is a year, and [Issuer.RenewCRL] renews from half of it on. The
	// gateway keeps what a CRL revokes beyond it; this is for other readers,
	// that of OpenVPN among them, which lets nobody in with a CRL that is past
	// its date.
	CRLLife = 365 * 24 * time.Hour
	// backdate lets a fresh profile connect to, and from, a machine whose clock is
	// a day slow.
	backdate = 25 * time.Hour
)

// Issuer signs for an authority: its key, unlocked.
type Issuer struct {
	number      int // of the CA, in ca/
	certificate *x509.Certificate
	key         crypto.Signer
	random      io.Reader
	now         time.Time
}

// Format keeps the key out of whatever is printed.
func (i Issuer) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, i.String()) }

// String names the issuer.
func (i Issuer) String() string {
	if i.certificate == nil {
		return "no issuer"
	}
	return "issuer " + i.certificate.Subject.CommonName
}

// LogValue is [Issuer.String].
func (i Issuer) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Pair is a certificate and its private key.
type Pair struct {
	Certificate *x509.Certificate
	Key         bundle.Secret // PEM, PKCS#8
}

// caName is the name of an authority's CA of a number.
func caName(authority string, number int) string {
	if number == 1 {
		return authority + " CA"
	}
	return fmt.Sprintf("%s CA %d", authority, number)
}

// nextCAName is that of the next CA. One that replaces another must not have its name:
// verifiers would try the wrong one. One that was taken over may have any.
func (f Folder) nextCAName(number int) string {
	taken := map[string]bool{} // in small letters, since OpenSSL compares so
	for n := 1; n < number; n++ {
		if ca, err := f.certificate(caFile(n, "ca.crt")); err == nil { // one that is lost was made here, or is out of use
			taken[strings.ToLower(ca.Subject.CommonName)] = true
		}
	}
	for n := number; ; n++ {
		if name := caName(f.mark.Name, n); !taken[strings.ToLower(name)] {
			return name
		}
	}
}

// newIssuer makes a CA that may sign end certificates only.
func newIssuer(subject string, number int, key crypto.Signer, now time.Time, random io.Reader) (Issuer, error) {
	serial, err := newSerial(random)
	if err != nil {
		return Issuer{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The space is outside the alphabet of every other name: no certificate
		// has its own issuer's name, which verifiers would take for self-signed.
		Subject:               pkix.Name{CommonName: subject},
		NotBefore:             now.Add(-backdate).UTC().Truncate(time.Second),
		NotAfter:              now.Add(CALife).UTC().Truncate(time.Second),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		// Nothing under this CA is an address. Names are not constrained: where
		// DNS names are, OpenSSL takes a person's name for one and refuses
		// "a_b.c" (NAME_CONSTRAINTS_check_CN). Nor is it critical, because a
		// verifier that does not know constraints, Mbed TLS, would refuse the CA.
		ExcludedIPRanges: everyAddress(),
	}
	certificate, err := sign(random, template, template, key.Public(), key)
	if err != nil {
		return Issuer{}, fmt.Errorf("signing the CA certificate %q: %w", subject, err)
	}
	return Issuer{number: number, certificate: certificate, key: key, random: random, now: now}, nil
}

func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 8*net.IPv4len)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 8*net.IPv6len)},
	}
}

// server makes the daemon's certificate. Its name is in the subject, which
// OpenVPN's verify-x509-name looks at, and as a DNS name where it can be one,
// before more of these.
func (i Issuer) server(name string, more []string) (Pair, error) {
	var names []string
	if isHostName(name) && !isAddress(name) {
		names = []string{name}
	}
	for _, other := range more {
		if !slices.Contains(names, other) {
			names = append(names, other)
		}
	}
	return i.pair(name, x509.ExtKeyUsageServerAuth, i.until(ServerLife), names...)
}

// probe makes the certificate with which the gateway connects to itself. It
// ends with the server's, so that both are renewed together.
func (i Issuer) probe() (Pair, error) {
	return i.pair(bundle.ProbeName, x509.ExtKeyUsageClientAuth, i.until(ServerLife))
}

// until caps a life at the CA's end.
func (i Issuer) until(life time.Duration) time.Time {
	end := i.now.Add(life)
	if end.After(i.certificate.NotAfter) {
		return i.certificate.NotAfter
	}
	return end
}

func (i Issuer) pair(name string, usage x509.ExtKeyUsage, notAfter time.Time, names ...string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), i.random)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key for %q: %w", name, err)
	}
	certificate, err := i.certify(name, key.Public(), usage, notAfter, names...)
	if err != nil {
		return Pair{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encoding the key of %q: %w", name, err)
	}
	return Pair{Certificate: certificate, Key: bundle.NewSecret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))}, nil
}

// checkNotCA refuses a name under which a certificate would have its own issuer's:
// OpenSSL takes that for self-signed, and nobody for good. It can be only that of
// a CA which another program made: ours have a space in it. OpenSSL compares
// names without regard to capitals (X509_NAME_cmp).
func checkNotCA(ca *x509.Certificate, name string) error {
	if len(ca.Subject.Names) == 1 && strings.EqualFold(ca.Subject.CommonName, name) {
		return fmt.Errorf("the name %q is the CA's own: a certificate of that name would count as self-signed; choose another", name)
	}
	return nil
}

// checkSigns refuses a CA whose certificates nobody would take, because it has
// ended or, by a clock that is wrong, not begun.
func checkSigns(ca *x509.Certificate, now time.Time) error {
	if err := checkBegun(ca, now); err != nil {
		return err
	}
	if !now.Before(ca.NotAfter) {
		return fmt.Errorf("the CA ended on %s: everybody needs a certificate of a new one", ca.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

func checkBegun(ca *x509.Certificate, now time.Time) error {
	if now.Before(ca.NotBefore) {
		return fmt.Errorf("the CA begins at %s, and it is %s: is this machine's clock right?", ca.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

func (i Issuer) certify(name string, public crypto.PublicKey, usage x509.ExtKeyUsage, notAfter time.Time, names ...string) (*x509.Certificate, error) {
	if err := errors.Join(checkNotCA(i.certificate, name), checkSigns(i.certificate, i.now)); err != nil {
		return nil, fmt.Errorf("signing a certificate for %q: %w", name, err)
	}
	serial, err := newSerial(i.random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             i.now.Add(-backdate).UTC().Truncate(time.Second),
		NotAfter:              notAfter.UTC().Truncate(time.Second),
		BasicConstraintsValid: true,
		// TLS 1.3 and the ECDHE suites of 1.2 sign; nothing is encrypted to
		// the key.
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
		DNSNames:    names,
	}
	if template.NotBefore.Before(i.certificate.NotBefore) {
		template.NotBefore = i.certificate.NotBefore
	}
	certificate, err := sign(i.random, template, i.certificate, public, i.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %q: %w", name, err)
	}
	return certificate, nil
}

func sign(random io.Reader, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(random, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// crl signs a list of what is revoked and returns its DER.
func (i Issuer) crl(number *big.Int, revoked []Revocation) ([]byte, error) {
	from, until := i.now.Add(-backdate).UTC().Truncate(time.Second), i.until(CRLLife).UTC().Truncate(time.Second)
	der, err := signCRL(i.random, i.certificate, i.key, number, from, until, revoked)
	if err != nil {
		return nil, fmt.Errorf("signing the CRL %s: %w", number, err)
	}
	return der, nil
}

func crlPEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }

// newSerial makes a positive number of 127 bits, 126 of them random: CAs are
// asked for at least 64 (CA/Browser Forum, baseline requirements 7.1), and
// RFC 5280 allows 20 octets.
func newSerial(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// isAddress tells whether a name is an address: nothing looks for one among DNS
// names, and the CA excludes them where they belong.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// isHostName tells whether a safe name is a DNS name too; verifiers reject
// certificates with DNS names that are none.
func isHostName(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") || strings.Contains(label, "_") {
			return false
		}
	}
	return true
}
