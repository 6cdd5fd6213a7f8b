// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// OpenHead reads the access head.
func OpenHead(raw []byte) (Head, error) {
	head, err := openHead(raw)
	if err != nil {
		return Head{}, fmt.Errorf("reading the access head: %w", err)
	}
	return head, nil
}

func openHead(raw []byte) (Head, error) {
	if err := checkSize(raw); err != nil {
		return Head{}, err
	}
	doc, err := readDocument(raw, "schema", "generation", "server_sha256", "shards")
	if err != nil {
		return Head{}, err
	}
	if _, err := doc.number("schema", Schema, Schema); err != nil {
		return Head{}, err
	}
	var h Head
	if h.Generation, err = doc.number("generation", 1, math.MaxUint64); err != nil {
		return Head{}, err
	}
	if h.ServerSHA256, err = doc.hash("server_sha256"); err != nil {
		return Head{}, err
	}
	allowed := fmt.Sprintf("a list of 1 to %d shards", MaxShards)
	items, err := doc.list("shards", allowed)
	if err != nil {
		return Head{}, err
	}
	if len(items) < 1 || len(items) > MaxShards {
		return Head{}, doc.refuse("shards", fmt.Sprintf("has %d entries", len(items)), allowed)
	}
	ids := map[string]bool{}
	for i, item := range items {
		shard, err := openShard(fmt.Sprintf("shards[%d]", i), item)
		if err != nil {
			return Head{}, err
		}
		if ids[shard.ID] {
			return Head{}, doc.refuse(fmt.Sprintf("shards[%d].id", i), "is there twice ("+strconv.Quote(shard.ID)+")", "a secret of its own")
		}
		ids[shard.ID] = true
		h.Shards = append(h.Shards, shard)
	}
	return h, nil
}

// ShardOf is how a head names a shard.
func ShardOf(id string, value []byte) Shard {
	return Shard{ID: id, SHA256: hash(value), Bytes: len(value)}
}

// Holds tells whether a value is the shard that is named.
func (s Shard) Holds(value []byte) bool { return len(value) == s.Bytes && hash(value) == s.SHA256 }

func openShard(path string, raw json.RawMessage) (Shard, error) {
	doc, err := readObject(path, raw, "id", "sha256", "bytes")
	if err != nil {
		return Shard{}, err
	}
	const allowed = "a string: the name or ARN of a secret"
	var s Shard
	if s.ID, err = doc.text("id", allowed); err != nil {
		return Shard{}, err
	}
	if err := checkID(s.ID); err != nil {
		return Shard{}, doc.refuse("id", err.Error(), allowed)
	}
	if s.SHA256, err = doc.hash("sha256"); err != nil {
		return Shard{}, err
	}
	size, err := doc.number("bytes", 1, MaxSecretBytes)
	s.Bytes = int(size) //nolint:gosec // at most MaxSecretBytes
	return s, err
}

// checkID takes a name's alphabet and the colons of an ARN; 2048 is the limit
// of SecretId in AWS's GetSecretValue.
func checkID(s string) error {
	if len(s) > 2048 {
		return fmt.Errorf("has %d bytes", len(s))
	}
	for _, r := range s {
		if !isAlphanumeric(r) && !bytes.ContainsRune([]byte("/_+=.@-:"), r) {
			return fmt.Errorf("has %q in it", r)
		}
	}
	return nil
}

// OpenAccess puts the shards together, in the order of the head, each checked
// against its hash before anything of it is read.
func OpenAccess(head Head, shards [][]byte) (Access, error) {
	access, err := openAccess(head, shards)
	if err != nil {
		return Access{}, fmt.Errorf("reading the access document: %w", err)
	}
	return access, nil
}

func openAccess(head Head, shards [][]byte) (Access, error) {
	if len(shards) == 0 || len(shards) != len(head.Shards) {
		return Access{}, fmt.Errorf("the head names %d shards, %d were read", len(head.Shards), len(shards))
	}
	for i, shard := range shards {
		want := head.Shards[i]
		if !want.Holds(shard) {
			return Access{}, fmt.Errorf("shard %q is not the one that the head names (%d bytes, sha256 %.12s...; it has %d, %.12s...): a publish is under way or broke off, publish again if this stays",
				want.ID, want.Bytes, want.SHA256, len(shard), hash(shard))
		}
	}
	plain, err := decompress(bytes.Join(shards, nil))
	if err != nil {
		return Access{}, err
	}
	doc, err := readDocument(plain, "crl", "previous_crl", "roster")
	if err != nil {
		return Access{}, err
	}
	var a Access
	if a.CRL, err = doc.revocationList("crl"); err != nil {
		return Access{}, err
	}
	if doc.has("previous_crl") {
		if a.PreviousCRL, err = doc.revocationList("previous_crl"); err != nil {
			return Access{}, err
		}
	}
	items, err := doc.list("roster", "a list of people")
	if err != nil {
		return Access{}, err
	}
	a.Roster = make([]Person, 0, len(items))
	for i, item := range items {
		person, err := openPerson(fmt.Sprintf("roster[%d]", i), item)
		if err != nil {
			return Access{}, err
		}
		a.Roster = append(a.Roster, person)
	}
	return a, checkRoster(a.Roster)
}

func decompress(packed []byte) ([]byte, error) {
	source := bytes.NewReader(packed)
	reader, err := gzip.NewReader(source)
	if err != nil {
		return nil, errors.New("the shards together are not gzip")
	}
	reader.Multistream(false)
	plain, err := io.ReadAll(io.LimitReader(reader, MaxAccessBytes+1))
	if err != nil {
		return nil, errors.New("the shards together are broken gzip")
	}
	if len(plain) > MaxAccessBytes {
		return nil, fmt.Errorf("the document has more than %d bytes once decompressed", MaxAccessBytes)
	}
	if source.Len() > 0 {
		return nil, fmt.Errorf("there are %d bytes after the gzip", source.Len())
	}
	return plain, nil
}

func (o object) revocationList(name string) (*x509.RevocationList, error) {
	const allowed = "a string: a certificate revocation list, DER in base64"
	s, err := o.text(name, allowed)
	if err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, o.refuse(name, "is not base64", allowed)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, o.refuse(name, "is refused ("+err.Error()+")", allowed)
	}
	if list.Number == nil || list.Number.Sign() < 0 {
		return nil, o.refuse(name, "has no CRL number", "numbered, so that an older one is known as such")
	}
	return list, nil
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
