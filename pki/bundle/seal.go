// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// Sealed is the values of the secrets, as they are put. The shards are under
// [ShardID] of 0, 1, ...
type Sealed struct {
	Server []byte
	Head   []byte
	Shards [][]byte
	// Unpacked is how many bytes the shards are to a reader, of [MaxAccessBytes].
	Unpacked int
}

// Share is how much of what a reader takes the shards are, from 0 to 1: of their number,
// or of what they are unpacked, whichever is nearer to its limit.
func (s Sealed) Share() float64 {
	return max(float64(len(s.Shards))/MaxShards, float64(s.Unpacked)/MaxAccessBytes)
}

// String tells the values apart without showing them: the server's is keys.
func (s Sealed) String() string {
	return fmt.Sprintf("server %s, head %s, shards: %d", NewSecret(s.Server), NewSecret(s.Head), len(s.Shards))
}

// Format makes every verb print [Sealed.String].
func (s Sealed) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// LogValue is [Sealed.String].
func (s Sealed) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON gives [Sealed.String]: the values are put one by one.
func (s Sealed) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

type serverDocument struct {
	Schema      int           `json:"schema"`
	Generation  uint64        `json:"generation"`
	Authority   string        `json:"authority"`
	CA          string        `json:"ca"`
	Certificate string        `json:"certificate"`
	Key         revealed      `json:"key"`
	TLSCryptV2  revealed      `json:"tls_crypt_v2"`
	Probe       probeDocument `json:"probe"`
	Wrapping    Wrapping      `json:"wrapping,omitempty"`
}

// LogValue keeps the keys out of logs in JSON, which would marshal them.
func (d serverDocument) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("server secret of %q, generation %d", d.Authority, d.Generation))
}

type probeDocument struct {
	Certificate string   `json:"certificate"`
	Key         revealed `json:"key"`
	TLSCryptV2  revealed `json:"tls_crypt_v2"`
}

// LogValue is as that of [serverDocument].
func (d probeDocument) LogValue() slog.Value { return slog.StringValue("probe of a server secret") }

type headDocument struct {
	Schema       int             `json:"schema"`
	Generation   uint64          `json:"generation"`
	ServerSHA256 string          `json:"server_sha256"`
	Shards       []shardDocument `json:"shards"`
}

type shardDocument struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"`
}

type accessDocument struct {
	CRL         string           `json:"crl"`
	PreviousCRL string           `json:"previous_crl,omitempty"`
	Roster      []personDocument `json:"roster"`
}

type personDocument struct {
	Name    string   `json:"name"`
	Common  string   `json:"common_name,omitempty"`
	Serials []string `json:"serials,omitempty"`
	Address string   `json:"address,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// Seal makes the values of the secrets under prefix. The same arguments give
// the same bytes, so that what has not changed need not be put again: the
// server secret carries the generation in which it last changed, the head the
// one of this publish.
//
// Seal refuses what the alphabets and limits forbid; whether a gateway would
// take it is for [Open] to say of the result.
func Seal(server Server, access Access, prefix string, generation uint64) (Sealed, error) {
	sealed, err := seal(server, access, prefix, generation)
	if err != nil {
		return Sealed{}, fmt.Errorf("sealing the secret %q: %w", prefix, err)
	}
	return sealed, nil
}

func seal(server Server, access Access, prefix string, generation uint64) (Sealed, error) {
	if err := CheckPrefix(prefix); err != nil {
		return Sealed{}, err
	}
	if server.Generation < 1 || server.Generation > generation {
		return Sealed{}, fmt.Errorf("the server secret is of generation %d, the publish of %d: the first must be 1 or more and not above the second", server.Generation, generation)
	}
	if server.Certificate == nil || server.Probe.Certificate == nil || len(server.CA) == 0 || access.CRL == nil {
		return Sealed{}, errors.New("a CA, both certificates and a CRL are needed")
	}
	if err := checkRoster(access.Roster); err != nil {
		return Sealed{}, err
	}
	var out Sealed
	var err error
	if out.Server, err = server.seal(); err != nil {
		return Sealed{}, fmt.Errorf("writing the server secret: %w", err)
	}
	if err := checkSize(out.Server); err != nil {
		return Sealed{}, fmt.Errorf("the server secret is too big: %w", err)
	}
	packed, unpacked, err := packAccess(access)
	if err != nil {
		return Sealed{}, err
	}
	out.Unpacked = unpacked
	head := headDocument{Schema: Schema, Generation: generation, ServerSHA256: hash(out.Server)}
	for chunk := range slices.Chunk(packed, MaxSecretBytes) {
		head.Shards = append(head.Shards, shardDocument(ShardOf(ShardID(prefix, len(out.Shards)), chunk)))
		out.Shards = append(out.Shards, chunk)
	}
	if len(out.Shards) > MaxShards {
		return Sealed{}, fmt.Errorf("the CRL and roster need %d secrets; %d is the limit", len(out.Shards), MaxShards)
	}
	if out.Head, err = encode(head); err != nil {
		return Sealed{}, fmt.Errorf("writing the access head: %w", err)
	}
	if err := checkSize(out.Head); err != nil {
		return Sealed{}, fmt.Errorf("the access head is too big, choose a shorter prefix: %w", err)
	}
	return out, nil
}

func (s Server) seal() ([]byte, error) {
	return encode(serverDocument{
		Schema:      Schema,
		Generation:  s.Generation,
		Authority:   s.Authority,
		CA:          string(CertificatesPEM(s.CA...)),
		Certificate: string(CertificatesPEM(s.Certificate)),
		Key:         revealed{s.Key},
		TLSCryptV2:  revealed{s.TLSCryptV2},
		Wrapping:    s.Wrapping,
		Probe: probeDocument{
			Certificate: string(CertificatesPEM(s.Probe.Certificate)),
			Key:         revealed{s.Probe.Key},
			TLSCryptV2:  revealed{s.Probe.TLSCryptV2},
		},
	})
}

// Check refuses what no gateway reads, such as a key that does not belong to its
// certificate. Who signed what, and until when, is for [Open] to say.
func (s Server) Check() error {
	s.Generation = max(s.Generation, 1)
	raw, err := s.seal()
	if err != nil {
		return err
	}
	_, err = OpenServer(raw)
	return err
}

// WithShards is the same with other ids of the shards in the head: their ARNs,
// once they are known. Who reads from another account or region finds a secret
// by its ARN only. An empty id, or one that is not given, stays as it is.
func (s Sealed) WithShards(ids []string) (Sealed, error) {
	head, err := OpenHead(s.Head)
	if err != nil {
		return Sealed{}, fmt.Errorf("naming the shards: %w", err)
	}
	document := headDocument{Schema: Schema, Generation: head.Generation, ServerSHA256: head.ServerSHA256}
	for i, shard := range head.Shards {
		if i < len(ids) && ids[i] != "" {
			shard.ID = ids[i]
		}
		document.Shards = append(document.Shards, shardDocument(shard))
	}
	if s.Head, err = encode(document); err != nil {
		return Sealed{}, fmt.Errorf("naming the shards: %w", err)
	}
	if _, err := OpenHead(s.Head); err != nil {
		return Sealed{}, fmt.Errorf("naming the shards by their ARNs (choose a shorter prefix if the head is too big): %w", err)
	}
	return s, nil
}

func packAccess(access Access) (packed []byte, unpacked int, err error) {
	people := slices.Clone(access.Roster)
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	doc := accessDocument{CRL: base64.StdEncoding.EncodeToString(access.CRL.Raw), Roster: []personDocument{}}
	if access.PreviousCRL != nil {
		doc.PreviousCRL = base64.StdEncoding.EncodeToString(access.PreviousCRL.Raw)
	}
	for _, p := range people {
		person := personDocument{Name: p.Name, Common: p.CommonName, Groups: p.Groups, Note: p.Note}
		for _, serial := range p.Serials {
			person.Serials = append(person.Serials, serial.String())
		}
		if p.Address.IsValid() {
			person.Address = p.Address.String()
		}
		doc.Roster = append(doc.Roster, person)
	}
	plain, err := encode(doc)
	if err != nil {
		return nil, 0, fmt.Errorf("writing the access document: %w", err)
	}
	if len(plain) > MaxAccessBytes {
		return nil, 0, fmt.Errorf("the CRL and roster have %d bytes; %d is the limit", len(plain), MaxAccessBytes)
	}
	var out bytes.Buffer
	writer, err := gzip.NewWriterLevel(&out, gzip.BestCompression) // no name, no time: deterministic
	if err != nil {
		return nil, 0, fmt.Errorf("compressing the access document: %w", err)
	}
	if _, err := writer.Write(plain); err != nil {
		return nil, 0, fmt.Errorf("compressing the access document: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, 0, fmt.Errorf("compressing the access document: %w", err)
	}
	return out.Bytes(), len(plain), nil
}

// encode writes JSON without HTML's escapes, which would be noise in a secret
// that an operator looks at.
func encode(document any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
