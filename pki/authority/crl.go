// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// signCRL makes the DER of a revocation list (RFC 5280 section 5). It writes
// the entries straight into one buffer: with a hundred thousand of them
// x509.CreateRevocationList takes three times as long, most of it in reflection.
func signCRL(random io.Reader, issuer *x509.Certificate, key crypto.Signer, number *big.Int, thisUpdate, nextUpdate time.Time, revoked []Revocation) ([]byte, error) {
	scheme, err := schemeOf(key.Public())
	if err != nil {
		return nil, err
	}
	entries, err := encodeEntries(revoked)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1) // version 2
		b.AddBytes(scheme.identifier)
		b.AddBytes(issuer.RawSubject)
		addTime(b, thisUpdate)
		addTime(b, nextUpdate)
		if len(revoked) > 0 {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(entries) })
		}
		b.AddASN1(tags.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
				addExtension(b, asn1.ObjectIdentifier{2, 5, 29, 35}, func(b *cryptobyte.Builder) { // authorityKeyIdentifier
					b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(tags.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(issuer.SubjectKeyId) })
					})
				})
				addExtension(b, asn1.ObjectIdentifier{2, 5, 29, 20}, func(b *cryptobyte.Builder) { b.AddASN1BigInt(number) }) // cRLNumber
			})
		})
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	signature, err := scheme.sign(random, key, tbs)
	if err != nil {
		return nil, err
	}
	out := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(signature)+64))
	out.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(scheme.identifier)
		b.AddASN1BitString(signature)
	})
	return out.Bytes()
}

// longestSerial is how many octets RFC 5280 section 4.1.2.2 allows; those of
// other programs have one more for the sign.
const longestSerial = 21

// encodeEntries writes the entries by hand: each part of one is so short that
// its length is one octet, and with a hundred thousand of them a builder that
// finds the lengths afterwards is most of what a list takes.
func encodeEntries(revoked []Revocation) ([]byte, error) {
	const longest = 2 + 2 + longestSerial + 2 + len("20060102150405Z") + len(reasonHead) + 1
	out := make([]byte, 0, len(revoked)*longest)
	for _, r := range revoked {
		if r.Serial.Sign() <= 0 || r.Serial.BitLen() >= 8*longestSerial {
			return nil, fmt.Errorf("the serial %s is no number of at most %d octets", r.Serial, longestSerial)
		}
		if year := r.At.UTC().Year(); year < 1950 || year > 9999 {
			return nil, fmt.Errorf("the certificate %s is revoked in the year %d, which no list can say", r.Serial, year)
		}
		out = appendEntry(out, r)
	}
	return out, nil
}

func appendEntry(out []byte, r Revocation) []byte {
	start := len(out)
	serial := r.Serial.BitLen()/8 + 1                                           // a leading bit of 1 would be a minus
	out = append(out, byte(tags.SEQUENCE), 0, byte(tags.INTEGER), byte(serial)) //nolint:gosec // at most longestSerial
	out = append(out, make([]byte, serial)...)
	r.Serial.FillBytes(out[len(out)-serial:])
	out = appendTime(out, r.At)
	if r.Reason != Unspecified { // RFC 5280 section 5.3.1: leave that out
		out = append(out, reasonHead...)
		out = append(out, byte(r.Reason)) //nolint:gosec // one of reasons()
	}
	out[start+1] = byte(len(out) - start - 2) //nolint:gosec // below 128, see encodeEntries
	return out
}

// reasonHead is what stands before a reason: extensions, the one with the id
// 2.5.29.21, an octet string, an enumeration of one octet.
const reasonHead = "\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01"

// appendTime is [addTime], by hand.
func appendTime(out []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 2050 {
		out = append(out, byte(tags.UTCTime), byte(len("060102150405Z")))
	} else {
		out = append(out, byte(tags.GeneralizedTime), byte(len("20060102150405Z")))
		out = appendDigits(out, year/100)
	}
	for _, n := range [...]int{year % 100, int(month), day, hour, minute, second} {
		out = appendDigits(out, n)
	}
	return append(out, 'Z')
}

// appendDigits writes a number below a hundred.
func appendDigits(out []byte, n int) []byte {
	return append(out, byte('0'+n/10), byte('0'+n%10)) //nolint:gosec // a digit
}

func addExtension(b *cryptobyte.Builder, id asn1.ObjectIdentifier, value cryptobyte.BuilderContinuation) {
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		b.AddASN1(tags.OCTET_STRING, value)
	})
}

// addTime writes a time as RFC 5280 wants it: two digits of the year until
// 2049, four from then on.
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC().Truncate(time.Second)
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// scheme is how a key signs.
type scheme struct {
	identifier []byte // AlgorithmIdentifier, DER
	hash       crypto.Hash
}

func schemeOf(public crypto.PublicKey) (scheme, error) {
	var id asn1.ObjectIdentifier
	var hash crypto.Hash
	null := false
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		switch public.Curve.Params().BitSize {
		case 256:
			id, hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, crypto.SHA256
		case 384:
			id, hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384
		case 521:
			id, hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, crypto.SHA512
		}
	case ed25519.PublicKey:
		id = asn1.ObjectIdentifier{1, 3, 101, 112}
	case *rsa.PublicKey:
		id, hash, null = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, true
	}
	if id == nil {
		return scheme{}, fmt.Errorf("the CA's key is a %T, with which no list is signed here", public)
	}
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		if null {
			b.AddASN1NULL()
		}
	})
	identifier, err := b.Bytes()
	return scheme{identifier: identifier, hash: hash}, err
}

func (s scheme) sign(random io.Reader, key crypto.Signer, message []byte) ([]byte, error) {
	return crypto.SignMessage(key, random, message, s.hash)
}

// crlHead is what a revocation list says of itself.
type crlHead struct {
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time
	entries    cryptobyte.String // as they are in the list
}

// readCRLHead reads what a list says of itself and passes over its entries
// without looking at them.
func readCRLHead(der []byte) (crlHead, error) {
	broken := errors.New("it is no DER of a CRL with a number (is the file damaged?)")
	input := cryptobyte.String(der)
	var list, tbs cryptobyte.String
	if !input.ReadASN1(&list, tags.SEQUENCE) || !input.Empty() || !list.ReadASN1(&tbs, tags.SEQUENCE) {
		return crlHead{}, broken
	}
	var head crlHead
	if !tbs.SkipASN1(tags.INTEGER) || !tbs.SkipASN1(tags.SEQUENCE) || !tbs.SkipASN1(tags.SEQUENCE) ||
		!readTime(&tbs, &head.ThisUpdate) || !readTime(&tbs, &head.NextUpdate) {
		return crlHead{}, broken
	}
	if tbs.PeekASN1Tag(tags.SEQUENCE) && !tbs.ReadASN1(&head.entries, tags.SEQUENCE) {
		return crlHead{}, broken
	}
	var outer, extensions cryptobyte.String
	if !tbs.ReadASN1(&outer, tags.Tag(0).ContextSpecific().Constructed()) || !outer.ReadASN1(&extensions, tags.SEQUENCE) {
		return crlHead{}, broken
	}
	for !extensions.Empty() {
		var extension, value cryptobyte.String
		var id asn1.ObjectIdentifier
		if !extensions.ReadASN1(&extension, tags.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&id) ||
			!extension.SkipOptionalASN1(tags.BOOLEAN) || !extension.ReadASN1(&value, tags.OCTET_STRING) {
			return crlHead{}, broken
		}
		if slices.Equal(id, asn1.ObjectIdentifier{2, 5, 29, 20}) {
			head.Number = new(big.Int)
			if !value.ReadASN1Integer(head.Number) {
				return crlHead{}, broken
			}
		}
	}
	if head.Number == nil || head.Number.Sign() < 0 {
		return crlHead{}, broken
	}
	return head, nil
}

// beyond tells whether a list has a certificate that is not among the revoked. With
// a hundred thousand entries x509.ParseRevocationList takes ten times as long.
func (h crlHead) beyond(revoked []Revocation) (bool, error) {
	known := make(map[string]struct{}, len(revoked))
	for _, r := range revoked {
		known[string(r.Serial.Bytes())] = struct{}{}
	}
	for entries := h.entries; !entries.Empty(); {
		var entry cryptobyte.String
		var serial []byte
		if !entries.ReadASN1(&entry, tags.SEQUENCE) || !entry.ReadASN1Integer(&serial) {
			return false, errors.New("an entry of it cannot be read (is the file damaged?)")
		}
		if _, is := known[string(serial)]; !is {
			return true, nil
		}
	}
	return false, nil
}

func readTime(s *cryptobyte.String, into *time.Time) bool {
	if s.PeekASN1Tag(tags.UTCTime) {
		return s.ReadASN1UTCTime(into)
	}
	return s.ReadASN1GeneralizedTime(into)
}
