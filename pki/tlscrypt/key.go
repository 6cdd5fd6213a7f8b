// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package tlscrypt makes and reads the keys of OpenVPN's tls-crypt-v2 and the
// first packet that a client sends with one. It runs on the operator's machine
// and, to see that a probe's key belongs to the server's, on the instance.
//
// The format is described in OpenVPN's doc/tls-crypt-v2.txt, whose names are
// used here: a server key (Ke, Ka) wraps each client key Kc into a blob WKc,
// so that the server keeps no list of client keys:
//
//	WKc = T || AES-256-CTR(Ke, IV, Kc || metadata) || len
//	T   = HMAC-SHA256(Ka, len || Kc || metadata), IV = the first 16 bytes of T
package tlscrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

const (
	serverKeyType = "OpenVPN tls-crypt-v2 server key"
	clientKeyType = "OpenVPN tls-crypt-v2 client key"

	// One "struct key" of OpenVPN's crypto.h: 64 bytes for a cipher key and 64
	// for an HMAC key, of which AES-256 and SHA-256 use the first 32.
	keySize       = 128
	hmacOffset    = 64
	usedSize      = 32
	clientKeySize = 2 * keySize // one key per direction

	tagSize = sha256.Size
	lenSize = 2
	// TLS_CRYPT_V2_MAX_WKC_LEN of OpenVPN's tls_crypt.h: a server refuses more.
	maxWrapped = 1024

	// The metadata that OpenVPN's own --genkey writes: when the key was made,
	// for the server's tls-crypt-v2-max-age (2.7).
	metadataTimestamp = 0x01
)

// ServerKey wraps client keys.
type ServerKey struct{ bytes [keySize]byte }

// ClientKey is what one client holds: its key in both directions, and the same
// wrapped for the server.
type ClientKey struct {
	key     [clientKeySize]byte
	wrapped []byte
}

// NewServerKey makes a server key of random bytes.
func NewServerKey(random io.Reader) (ServerKey, error) {
	var k ServerKey
	if _, err := io.ReadFull(random, k.bytes[:]); err != nil {
		return ServerKey{}, fmt.Errorf("making a tls-crypt-v2 server key: %w", err)
	}
	return k, nil
}

// ParseServerKey reads a server key in PEM.
func ParseServerKey(text []byte) (ServerKey, error) {
	raw, err := block(text, serverKeyType)
	if err != nil {
		return ServerKey{}, err
	}
	if len(raw) != keySize {
		return ServerKey{}, fmt.Errorf("the tls-crypt-v2 server key has %d bytes, it must have %d", len(raw), keySize)
	}
	return ServerKey{bytes: [keySize]byte(raw)}, nil
}

// PEM is the form that OpenVPN's tls-crypt-v2 directive reads on a server.
func (k ServerKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: serverKeyType, Bytes: k.bytes[:]})
}

// NewClientKey makes the key of one client, with the time in it.
func (k ServerKey) NewClientKey(random io.Reader, now time.Time) (ClientKey, error) {
	var c ClientKey
	if _, err := io.ReadFull(random, c.key[:]); err != nil {
		return ClientKey{}, fmt.Errorf("making a tls-crypt-v2 client key: %w", err)
	}
	metadata := binary.BigEndian.AppendUint64([]byte{metadataTimestamp}, uint64(now.Unix())) //nolint:gosec // not before 1970
	c.wrapped = k.wrap(c.key, metadata)
	return c, nil
}

func (k ServerKey) wrap(key [clientKeySize]byte, metadata []byte) []byte {
	plain := append(append([]byte{}, key[:]...), metadata...)
	size := binary.BigEndian.AppendUint16(nil, uint16(tagSize+len(plain)+lenSize)) //nolint:gosec // a few hundred bytes
	tag := k.tag(size, plain)
	out := append([]byte{}, tag...)
	out = append(out, ctr(k.bytes[:usedSize], tag, plain)...)
	return append(out, size...)
}

// Owns tells by an error whether a client key was wrapped by another server
// key, and so would be dropped by the server without an answer.
func (k ServerKey) Owns(c ClientKey) error {
	size := c.wrapped[len(c.wrapped)-lenSize:]
	tag := c.wrapped[:tagSize]
	plain := ctr(k.bytes[:usedSize], tag, c.wrapped[tagSize:len(c.wrapped)-lenSize])
	if !hmac.Equal(tag, k.tag(size, plain)) || !hmac.Equal(plain[:clientKeySize], c.key[:]) {
		return errors.New("the tls-crypt-v2 client key was not made with this tls-crypt-v2 server key")
	}
	return nil
}

func (k ServerKey) tag(size, plain []byte) []byte {
	mac := hmac.New(sha256.New, k.bytes[hmacOffset:hmacOffset+usedSize])
	mac.Write(size)
	mac.Write(plain)
	return mac.Sum(nil)
}

// ParseClientKey reads a client key in PEM. Whether it fits a server is for
// [ServerKey.Owns] to say.
func ParseClientKey(text []byte) (ClientKey, error) {
	raw, err := block(text, clientKeyType)
	if err != nil {
		return ClientKey{}, err
	}
	const shortest = clientKeySize + tagSize + clientKeySize + lenSize
	if len(raw) < shortest || len(raw) > clientKeySize+maxWrapped {
		return ClientKey{}, fmt.Errorf("the tls-crypt-v2 client key has %d bytes, it must have %d to %d", len(raw), shortest, clientKeySize+maxWrapped)
	}
	c := ClientKey{key: [clientKeySize]byte(raw), wrapped: append([]byte{}, raw[clientKeySize:]...)}
	if said := int(binary.BigEndian.Uint16(c.wrapped[len(c.wrapped)-lenSize:])); said != len(c.wrapped) {
		return ClientKey{}, fmt.Errorf("the tls-crypt-v2 client key says that its wrapped part has %d bytes, it has %d", said, len(c.wrapped))
	}
	return c, nil
}

// PEM is the form that OpenVPN's tls-crypt-v2 directive reads on a client.
func (c ClientKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: clientKeyType, Bytes: append(append([]byte{}, c.key[:]...), c.wrapped...)})
}

func block(text []byte, want string) ([]byte, error) {
	found, rest := pem.Decode(text)
	switch {
	case found == nil:
		return nil, fmt.Errorf("there is no PEM in it; it must be one PEM block of type %q", want)
	case found.Type != want:
		return nil, fmt.Errorf("the PEM is of type %q, it must be %q", found.Type, want)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, fmt.Errorf("there is a second PEM block (%q), there must be one of type %q", more.Type, want)
	}
	return found.Bytes, nil
}

func ctr(key, tag, in []byte) []byte {
	cipherBlock, err := aes.NewCipher(key)
	if err != nil {
		panic("tlscrypt: " + err.Error()) // the key's size is a constant of this package
	}
	out := make([]byte, len(in))
	cipher.NewCTR(cipherBlock, tag[:aes.BlockSize]).XORKeyStream(out, in)
	return out
}

// Format keeps the bytes out of whatever prints a key.
func (k ServerKey) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, serverKeyType)
}

// LogValue keeps the bytes out of logs.
func (k ServerKey) LogValue() slog.Value { return slog.StringValue(serverKeyType) }

// Format keeps the bytes out of whatever prints a key.
func (c ClientKey) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, clientKeyType)
}

// LogValue keeps the bytes out of logs.
func (c ClientKey) LogValue() slog.Value { return slog.StringValue(clientKeyType) }
