// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package bundle is the secret that makes an instance a VPN gateway: its
// shape, how it is sealed and how it is opened.
//
// The operator's command seals a [Server] and an [Access] into the values of
// AWS Secrets Manager secrets ([Seal]) and runs [Open] on them before it
// publishes; the program on the instance runs the very same [Open] on what it
// reads, so a bundle that the gateway would refuse is never published.
//
// There are three kinds of value. The server secret holds what the daemon is:
// CA, certificate, keys; it changes when one of them is rotated. The access
// head names the shards, with a hash of each and of the server secret it
// belongs to, so that a reader never mixes two publishes. The shards are one
// compressed document, cut into pieces that fit a secret: the CRL and the
// roster of people; it changes with every issue and revocation.
//
// The package touches neither network nor disk, and knows no clock: the time
// is an argument.
package bundle

import (
	"crypto/x509"
	"math/big"
	"net/netip"
	"slices"
	"time"
)

// Schema is the version of the documents. A reader refuses any other: a
// document that is understood by half is worse than none.
const Schema = 1

// MaxSecretBytes is the most that one secret of AWS Secrets Manager holds:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
const MaxSecretBytes = 65536

// ProbeName is the common name of the certificate with which a gateway
// connects to itself to prove that it works. No person may bear it.
const ProbeName = "vpnami-probe"

// MaxShards bounds what a reader is ready to hold in memory: 256 shards are
// 16 MiB compressed, some ten times what 10,000 people with 20,000 revoked
// certificates take (1 MiB).
const MaxShards = 256

// MaxAccessBytes bounds the access document once decompressed, so that a
// small secret cannot fill the memory of a small instance (the smallest EC2
// types have 512 MiB).
const MaxAccessBytes = 32 << 20

// EndsSoon is how long before the end of a certificate [Open] begins to warn:
// a month is time enough to rotate without haste.
const EndsSoon = 30 * 24 * time.Hour

// Server is what the daemon is.
type Server struct {
	// Generation is the publish in which these values last changed.
	Generation uint64
	// Authority is the name of the authority, for people to read.
	Authority string
	// CA holds the certificates that a client's certificate may chain to:
	// one, or two while an authority is rolled over.
	CA          []*x509.Certificate
	Certificate *x509.Certificate
	Key         Secret // PEM, PKCS#8
	TLSCryptV2  Secret // PEM, "OpenVPN tls-crypt-v2 server key"
	Probe       Probe
	Wrapping    Wrapping
}

// Wrapping is what the packets of the handshake are wrapped in.
type Wrapping string

const (
	// TLSCryptV2 is the rule: nobody reaches TLS without a client's key.
	TLSCryptV2 Wrapping = ""
	// NoWrapping is for as long as profiles are out that another program made:
	// OpenVPN takes clients with a key or clients without, never both.
	NoWrapping Wrapping = "none"
)

// Probe is the client with which the gateway proves itself.
type Probe struct {
	Certificate *x509.Certificate
	Key         Secret // PEM, PKCS#8
	TLSCryptV2  Secret // PEM, "OpenVPN tls-crypt-v2 client key"
}

// Head names the shards of an access document and the server secret that it
// belongs to.
type Head struct {
	Generation   uint64
	ServerSHA256 string // lower-case hex
	Shards       []Shard
}

// Shard is one piece of the access document.
type Shard struct {
	ID     string // name or ARN of the secret
	SHA256 string // lower-case hex
	Bytes  int
}

// Access is who may come in.
type Access struct {
	// CRL is that of the first CA of the server secret.
	CRL *x509.RevocationList
	// PreviousCRL is that of the second, while the first is replacing it.
	PreviousCRL *x509.RevocationList
	Roster      []Person
}

// Person is one line of the roster, which is the allow-list.
type Person struct {
	// Name is the common name of the person's certificates.
	Name string
	// CommonName, if any, is that of older certificates, which another program
	// made, outside the alphabet of names. It is never looked at to let somebody in: the
	// serials are, and there must be some.
	CommonName string
	// Serials, when there are any, bind the name to these certificates only.
	Serials []*big.Int
	// Address is the person's own tunnel address; the zero Addr means one of
	// the dynamic pool.
	Address netip.Addr
	Groups  []string
	Note    string
}

// Bundle is a server and an access document that fit each other.
type Bundle struct {
	Server Server
	Head   Head
	Access Access
}

// Revoked returns the serial numbers of the revoked certificates in rising
// order. They stay revoked when the CRL is past its nextUpdate.
func (b Bundle) Revoked() []*big.Int { return b.Access.Revoked() }

// Revoked is [Bundle.Revoked].
func (a Access) Revoked() []*big.Int {
	serials := append(revoked(a.CRL), revoked(a.PreviousCRL)...)
	slices.SortFunc(serials, (*big.Int).Cmp)
	return slices.CompactFunc(serials, func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
}

// CRLs are the revocation lists, in the order of the CAs that signed them.
func (a Access) CRLs() []*x509.RevocationList {
	var lists []*x509.RevocationList
	for _, list := range []*x509.RevocationList{a.CRL, a.PreviousCRL} {
		if list != nil {
			lists = append(lists, list)
		}
	}
	return lists
}

// Warning is something that works today and will not for ever.
type Warning struct {
	// Kind is for programs, one of the Warn constants.
	Kind string
	// Text is for people.
	Text string
}

func (w Warning) String() string { return w.Text }

// Kinds of [Warning].
const (
	WarnCAEnds          = "ca-ends"
	WarnCertificateEnds = "certificate-ends"
	WarnProbeEnds       = "probe-ends"
	WarnCRLPast         = "crl-past-next-update"
	WarnCRLFuture       = "crl-from-the-future"
)
