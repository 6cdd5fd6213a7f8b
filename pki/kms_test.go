// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// digestKMS does what moto does not: it takes a digest for one.
type digestKMS struct{ key *ecdsa.PrivateKey }

func (d digestKMS) GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	der, err := x509.MarshalPKIXPublicKey(d.key.Public())
	return &kms.GetPublicKeyOutput{PublicKey: der, KeyUsage: types.KeyUsageTypeSignVerify}, err
}

func (d digestKMS) Sign(_ context.Context, in *kms.SignInput, _ ...func(*kms.Options)) (*kms.SignOutput, error) {
	digest := in.Message
	if in.MessageType == types.MessageTypeRaw {
		sum := sha256.Sum256(in.Message)
		digest = sum[:]
	}
	if len(digest) != sha256.Size || in.MessageType == types.MessageTypeRaw && len(in.Message) > 4096 {
		return nil, &types.KMSInvalidStateException{}
	}
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, digest)
	return &kms.SignOutput{Signature: signature}, err
}

func TestKMSSignsWhatIsLong(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := newKMSKey(t.Context(), digestKMS{key}, "arn")
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{1, 4096, 4097, 1 << 20} {
		message := []byte(strings.Repeat("x", length))
		signature, err := crypto.SignMessage(signer, rand.Reader, message, crypto.SHA256)
		if err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		digest := sha256.Sum256(message)
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			t.Errorf("%d bytes: the signature does not verify", length)
		}
	}
	if _, err := crypto.SignMessage(signer, rand.Reader, []byte("x"), crypto.SHA384); err == nil {
		t.Error("a P-256 key signs with SHA-384")
	}
}

// brokenKMS answers as KMS does when a key is off, or not for these
// credentials, which moto does not.
type brokenKMS struct {
	digestKMS
	err error
}

func (b brokenKMS) Sign(context.Context, *kms.SignInput, ...func(*kms.Options)) (*kms.SignOutput, error) {
	return nil, b.err
}

func TestKMSRefusals(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for want, cause := range map[string]error{
		"it is disabled: enable it":           &types.DisabledException{},
		"cancel its deletion with":            &types.KMSInvalidStateException{},
		`"arn:one": interrupted`:              context.Canceled,
		"try again":                           &types.KeyUnavailableException{},
		"they need kms:Sign on it":            &smithy.GenericAPIError{Code: "AccessDeniedException"},
		`signing with the KMS key "arn:one":`: &types.KMSInternalException{},
	} {
		signer, err := newKMSKey(t.Context(), brokenKMS{digestKMS{key}, cause}, "arn:one")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := crypto.SignMessage(signer, rand.Reader, []byte("x"), crypto.SHA256); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
