// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// shelf is Secrets Manager in memory, that can refuse one call.
type shelf struct {
	values map[string][]byte
	before map[string][]byte // what they were before
	writes []string
	fail   string // "put vpn/access"; "before vpn/access/000" is to read what was
	err    error
	// contents are of the heads that were published, in their order.
	contents []string
	// tookBack are revocations of the folder that have fallen out of its list.
	tookBack []*big.Int
	// had are CAs of the folder that were replaced.
	had []*x509.Certificate
}

// arnOf is as AWS makes them, in another account than anybody's own.
func arnOf(name string) string {
	return "arn:aws:secretsmanager:ap-northeast-1:210987654321:secret:" + name + "-AbCdEf"
}

// nameOf takes a name or an ARN.
func nameOf(id *string) string {
	name, isARN := strings.CutPrefix(aws.ToString(id), strings.TrimSuffix(arnOf(""), "-AbCdEf"))
	if isARN {
		name = strings.TrimSuffix(name, "-AbCdEf")
	}
	return name
}

func (s *shelf) check(verb, id string) error {
	if s.fail == verb+" "+id {
		return s.err
	}
	return nil
}

func (s *shelf) GetSecretValue(_ context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	id := nameOf(in.SecretId)
	verb, of := "get", s.values
	switch aws.ToString(in.VersionStage) {
	case "AWSCURRENT":
	case "AWSPREVIOUS":
		verb, of = "before", s.before
	default:
		return nil, errors.New("the stage was not asked for by name")
	}
	if err := s.check(verb, id); err != nil {
		return nil, err
	}
	if value, ok := of[id]; ok && value != nil {
		return &secretsmanager.GetSecretValueOutput{SecretBinary: value, ARN: aws.String(arnOf(id))}, nil
	}
	return nil, &types.ResourceNotFoundException{}
}

func (s *shelf) DescribeSecret(_ context.Context, in *secretsmanager.DescribeSecretInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	if _, ok := s.values[aws.ToString(in.SecretId)]; ok {
		return &secretsmanager.DescribeSecretOutput{ARN: aws.String(arnOf(aws.ToString(in.SecretId)))}, nil
	}
	return nil, &types.ResourceNotFoundException{}
}

func (s *shelf) CreateSecret(_ context.Context, in *secretsmanager.CreateSecretInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.CreateSecretOutput, error) {
	return &secretsmanager.CreateSecretOutput{ARN: aws.String(arnOf(aws.ToString(in.Name)))}, s.store("create", aws.ToString(in.Name), in.SecretString, in.SecretBinary)
}

func (s *shelf) PutSecretValue(_ context.Context, in *secretsmanager.PutSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	return &secretsmanager.PutSecretValueOutput{ARN: aws.String(arnOf(aws.ToString(in.SecretId)))}, s.store("put", aws.ToString(in.SecretId), in.SecretString, in.SecretBinary)
}

func (s *shelf) TagResource(context.Context, *secretsmanager.TagResourceInput, ...func(*secretsmanager.Options)) (*secretsmanager.TagResourceOutput, error) {
	return &secretsmanager.TagResourceOutput{}, nil
}

func (s *shelf) UpdateSecret(context.Context, *secretsmanager.UpdateSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretOutput, error) {
	return &secretsmanager.UpdateSecretOutput{}, nil
}

func (s *shelf) store(verb, id string, text *string, binary []byte) error {
	if err := s.check(verb, id); err != nil {
		return err
	}
	if text != nil {
		binary = []byte(*text)
	}
	if s.before == nil {
		s.before = map[string][]byte{}
	}
	s.before[id], s.values[id] = s.values[id], binary
	s.writes = append(s.writes, verb+" "+id)
	return nil
}

// publishTo is a whole publish without a folder, by a copy that published last
// as many times.
func publishTo(s *shelf, server bundle.Server, access bundle.Access, last uint64) (publication, error) {
	known := s.contents[:min(int(last), len(s.contents))]
	return publishAfter(s, server, access, authority.Publish{Generation: last, Contents: known})
}

func publishAfter(s *shelf, server bundle.Server, access bundle.Access, last authority.Publish) (publication, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v := vault{api: s}
	there, err := readRemote(ctx, v, "vpn")
	if err != nil {
		return publication{}, err
	}
	o := offer{server: server, access: access, past: authority.NewPast(slices.Concat(server.CA, s.had), append(access.Revoked(), s.tookBack...)...), last: last}
	p, err := o.over(ctx, v, there, publishOrder{prefix: "vpn"}, testNow)
	if err != nil {
		return publication{}, err
	}
	if err := p.write(ctx, v, func(change) {}); err != nil {
		return p, err
	}
	head, err := bundle.OpenHead(p.sealed.Head)
	if err != nil {
		return p, err
	}
	s.contents = append(s.contents, contentOf(head))
	return p, p.verify(ctx, v, testNow)
}

func people(n int) []bundle.Person {
	var out []bundle.Person
	for i := range n {
		out = append(out, bundle.Person{Name: fmt.Sprintf("person-%d", i)})
	}
	return out
}

func TestPublishInOrder(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	s := &shelf{values: map[string][]byte{"vpn/server": nil}}
	if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(1), Roster: people(1)}, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"put vpn/server", "create vpn/access/000", "create vpn/access"}, s.writes); diff != "" {
		t.Error(diff)
	}
	// It grows to several shards, and shrinks again.
	s.writes = nil
	serials := make([]*big.Int, 12_000)
	for i := range serials {
		serials[i] = new(big.Int).Exp(big.NewInt(int64(i)+3), big.NewInt(11), nil)
	}
	p, err := publishTo(s, server, bundle.Access{CRL: a.CRL(2, serials...), Roster: people(1)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if p.generation != 2 || len(s.writes) < 3 || s.writes[0] != "put vpn/access/000" || s.writes[1] != "create vpn/access/001" || s.writes[len(s.writes)-1] != "put vpn/access" {
		t.Errorf("generation %d: %v", p.generation, s.writes)
	}
	if !slices.Contains(p.lines, "revoked  12000 certificates, 0 before") {
		t.Errorf("%q", p.lines)
	}
	s.writes, s.tookBack = nil, serials
	if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(3), Roster: people(2)}, 7); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"put vpn/access/000", "put vpn/access"}, s.writes); diff != "" {
		t.Error(diff)
	}
	if !bytes.Contains(s.values["vpn/access"], []byte("\"generation\":8,")) {
		t.Errorf("the folder's own generation was not heeded: %s", s.values["vpn/access"])
	}
	// A new server certificate: the server secret gets the publish's generation.
	s.writes = nil
	if _, err := publishTo(s, a.Server(), bundle.Access{CRL: a.CRL(3), Roster: people(2)}, 8); err != nil {
		t.Fatal(err)
	}
	if s.writes[0] != "put vpn/server" || !bytes.Contains(s.values["vpn/server"], []byte("\"generation\":9,")) {
		t.Errorf("%v: %.60s", s.writes, s.values["vpn/server"])
	}
}

func TestPublishRefuses(t *testing.T) {
	a, other := bundletest.New(t, testNow), bundletest.New(t, testNow)
	server := a.Server()
	denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}
	expired := &smithy.GenericAPIError{Code: "ExpiredTokenException", Message: "old"}
	for name, c := range map[string]struct {
		fail   string
		err    error
		server bundle.Server
		list   int64
		want   string
	}{
		"reading denied":    {"get vpn/server", denied, server, 2, "reading secret \"vpn/server\": AWS denies it to these credentials: they need secretsmanager:GetSecretValue on it"},
		"session ended":     {"get vpn/server", expired, server, 2, "AWS does not take these credentials: log in again"},
		"interrupted":       {"get vpn/server", context.Canceled, server, 2, "reading secret \"vpn/server\": interrupted"},
		"AWS hangs":         {"put vpn/access", context.DeadlineExceeded, server, 2, "writing secret \"vpn/access\": AWS does not answer"},
		"writing denied":    {"put vpn/access/000", denied, server, 2, "they need secretsmanager:PutSecretValue on it"},
		"broken off":        {"put vpn/access", errors.New("connection reset"), server, 2, "writing secret \"vpn/access\": connection reset; 1 of 2 secrets were written: running gateways keep what they have, publish again"},
		"marked deleted":    {"put vpn/access/000", &types.InvalidRequestException{Message: aws.String("You can't perform this operation on the secret because it was marked for deletion.")}, server, 2, "it is marked deleted"},
		"another authority": {"", nil, other.Server(), 2, "with another CA: everybody who connects today would be locked out; if that is meant, say --replace"},
		"an old copy":       {"", nil, server, 0, "the CRL there has number 1, this folder's has 0: this folder is an old copy, and running gateways would refuse it, now and later; if it is the newest that you have, sign above that first: \"vpnami-pki crl --above 1\""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{values: map[string][]byte{}}
			if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(1)}, 0); err != nil {
				t.Fatal(err)
			}
			s.fail, s.err = c.fail, c.err
			_, err := publishTo(s, c.server, bundle.Access{CRL: a.CRL(c.list)}, 1)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %q", err, c.want)
			}
		})
	}
}

// TestPublishIsReadBack has somebody else write in between.
func TestPublishIsReadBack(t *testing.T) {
	a := bundletest.New(t, testNow)
	s := &shelf{values: map[string][]byte{}}
	p, err := publishTo(s, a.Server(), bundle.Access{CRL: a.CRL(1)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.values["vpn/access/000"] = []byte("x")
	if err := p.verify(context.Background(), vault{api: s}, testNow); err == nil || !strings.Contains(err.Error(), "reading back secret \"vpn/access/000\": it is not what was written") {
		t.Error(err)
	}
}

func TestVaultKeepsTheLimit(t *testing.T) {
	s := &shelf{values: map[string][]byte{}}
	_, err := vault{api: s}.put(context.Background(), change{id: "vpn/x", data: bundle.NewSecret(make([]byte, bundle.MaxSecretBytes+1)), binary: true}, dressing{})
	if err == nil || len(s.writes) != 0 {
		t.Errorf("%v, writes %v", err, s.writes)
	}
}

// TestHeadNamesShardsByARN, with which a gateway of another account finds them.
func TestHeadNamesShardsByARN(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	// One made by Terraform without a value, none, and one that is written anew.
	for name, values := range map[string]map[string][]byte{
		"containers": {"vpn/server": nil, "vpn/access": nil, "vpn/access/000": nil},
		"nothing":    {},
	} {
		s := &shelf{values: values}
		for generation := range uint64(3) {
			if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(1), Roster: people(int(generation))}, generation); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			head, err := bundle.OpenHead(s.values["vpn/access"])
			if err != nil || len(head.Shards) != 1 || head.Shards[0].ID != arnOf("vpn/access/000") {
				t.Errorf("%s: %v, %+v", name, err, head)
			}
		}
	}
	// A head of plain names is put right by the next publish.
	access := bundle.Access{CRL: a.CRL(1)}
	sealed, err := bundle.Seal(server, access, "vpn", 1)
	if err != nil {
		t.Fatal(err)
	}
	head, err := bundle.OpenHead(sealed.Head)
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{
		values:   map[string][]byte{"vpn/server": sealed.Server, "vpn/access": sealed.Head, "vpn/access/000": sealed.Shards[0]},
		contents: []string{contentOf(head)},
	}
	if _, err := publishTo(s, server, access, 1); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"put vpn/access"}, s.writes); diff != "" {
		t.Error(diff)
	}
}

// TestPublicationIsNotPrinted, nor what it is made of.
func TestPublicationIsNotPrinted(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v := vault{api: &shelf{values: map[string][]byte{}}}
	p, err := plan(server, bundle.Access{CRL: a.CRL(1)}, "vpn", remote{}, 0, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.compare(ctx, v, remote{}); err != nil {
		t.Fatal(err)
	}
	if err := p.write(ctx, v, func(change) {}); err != nil {
		t.Fatal(err)
	}
	there, err := readRemote(ctx, v, "vpn")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, value := range []any{p, &p, []publication{p}, p.changes, p.changes[0], there, &there, there.server} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("x", "value", value)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
	}
	const key = "PRIVATE KEY"
	for _, form := range []string{key, fmt.Sprintf("%x", key), strings.Trim(fmt.Sprintf("%d", []byte(key)), "[]"), "0x50, 0x52, 0x49"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q was printed", form)
		}
	}
}
