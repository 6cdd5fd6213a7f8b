// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Secret holds bytes that must not be printed. Whatever prints it (fmt with
// any verb, slog, encoding/json) shows a fingerprint; only [Secret.Reveal]
// gives the bytes.
type Secret struct {
	// A function, not a slice: fmt reaches into the unexported fields of a
	// struct that holds a Secret without calling its methods, and of a
	// function it can print no more than the address.
	reveal func() []byte
}

// NewSecret returns a Secret of a copy of b.
func NewSecret(b []byte) Secret {
	kept := bytes.Clone(b)
	return Secret{reveal: func() []byte { return bytes.Clone(kept) }}
}

// Reveal returns a copy of the bytes, for the one place that writes them where
// they belong.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// IsZero tells whether there are no bytes.
func (s Secret) IsZero() bool { return len(s.Reveal()) == 0 }

// String returns a fingerprint. Twelve hex digits tell two keys apart and
// fit a line.
func (s Secret) String() string {
	if s.IsZero() {
		return "sha256:none"
	}
	sum := sha256.Sum256(s.Reveal())
	return "sha256:" + hex.EncodeToString(sum[:6]) + "..."
}

// GoString is [Secret.String].
func (s Secret) GoString() string { return s.String() }

// Format makes every verb print the fingerprint, %x and %d too.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// LogValue is the fingerprint.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON gives the fingerprint: a secret reaches a document by
// [Secret.Reveal] only.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText gives the fingerprint.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// revealed is a Secret that encoding/json writes as it is, for the one
// document whose purpose that is. Everything else prints the fingerprint.
type revealed struct{ Secret }

func (r revealed) MarshalJSON() ([]byte, error) { return encode(string(r.Reveal())) }
