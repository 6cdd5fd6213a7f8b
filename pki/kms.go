// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// kmsAPI is what is used of AWS KMS.
type kmsAPI interface {
	GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error)
	Sign(context.Context, *kms.SignInput, ...func(*kms.Options)) (*kms.SignOutput, error)
}

// kmsKey is a [crypto.MessageSigner] whose key AWS KMS holds.
type kmsKey struct {
	ctx    context.Context //nolint:containedctx // crypto.Signer has no place for one
	api    kmsAPI
	arn    string
	public crypto.PublicKey
}

// kmsWait bounds a call with the SDK's retries: KMS answers within a second.
const kmsWait = 30 * time.Second

const kmsKinds = "make one of ECC_NIST_P256, ECC_NIST_P384, RSA_3072 or RSA_4096"

// checkBeside refuses to stand in for a vpnami-pki of another release: the two
// would write the same folder by different rules.
func checkBeside() error {
	if theirs, told := os.LookupEnv(fromRelease); told && theirs != version {
		return fmt.Errorf("running %s %s for vpnami-pki %s: they are not of the same release: install both of one", besideName, version, theirs)
	}
	return nil
}

// becomeKeeper has nothing to become: this program speaks with KMS itself.
func becomeKeeper(authority.Folder) error { return nil }

// openKMS asks KMS for a key, in the region that its ARN names.
func openKMS(ctx context.Context, id string) (crypto.Signer, error) {
	region, err := checkKeyARN(id)
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if err := findCredentials(ctx, cfg); err != nil {
		return nil, err
	}
	return newKMSKey(ctx, kms.NewFromConfig(cfg), id)
}

func newKMSKey(ctx context.Context, api kmsAPI, id string) (crypto.Signer, error) {
	bounded, cancel := context.WithTimeout(ctx, kmsWait)
	defer cancel()
	out, err := api.GetPublicKey(bounded, &kms.GetPublicKeyInput{KeyId: aws.String(id)})
	if err != nil {
		return nil, explainKMS("reading the public key of", id, "kms:GetPublicKey", err)
	}
	if out.KeyUsage != types.KeyUsageTypeSignVerify {
		return nil, fmt.Errorf("reading the public key of the KMS key %q: it is for %s: make one for SIGN_VERIFY", id, out.KeyUsage)
	}
	public, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of the KMS key %q: %w: %s", id, err, kmsKinds)
	}
	key := kmsKey{ctx: ctx, api: api, arn: id, public: public}
	if _, err := key.algorithm(hashFor(public)); err != nil {
		return nil, err
	}
	return key, nil
}

// hashFor is the hash that certificates and lists under a key are signed with.
func hashFor(public crypto.PublicKey) crypto.Hash {
	if key, ok := public.(*ecdsa.PublicKey); ok && key.Params().BitSize == 384 {
		return crypto.SHA384
	}
	return crypto.SHA256
}

func (k kmsKey) algorithm(hash crypto.Hash) (types.SigningAlgorithmSpec, error) {
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		switch {
		case public.Params().BitSize == 256 && hash == crypto.SHA256:
			return types.SigningAlgorithmSpecEcdsaSha256, nil
		case public.Params().BitSize == 384 && hash == crypto.SHA384:
			return types.SigningAlgorithmSpecEcdsaSha384, nil
		}
	case *rsa.PublicKey:
		if hash == crypto.SHA256 && public.N.BitLen() >= 3072 {
			return types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, nil
		}
	}
	return "", fmt.Errorf("using the KMS key %q: it is of no kind that a CA is made of here: %s", k.arn, kmsKinds)
}

// Public is the key's public half.
func (k kmsKey) Public() crypto.PublicKey { return k.public }

// Sign has KMS sign a digest.
func (k kmsKey) Sign(_ io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return k.sign(types.MessageTypeDigest, digest, options)
}

// mostRaw is how long a message can be that KMS hashes itself:
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
const mostRaw = 4096

// SignMessage has KMS hash and sign a message, a certificate for one. A longer
// one, a list of what is revoked, is hashed here.
func (k kmsKey) SignMessage(_ io.Reader, message []byte, options crypto.SignerOpts) ([]byte, error) {
	if len(message) <= mostRaw {
		return k.sign(types.MessageTypeRaw, message, options)
	}
	h := options.HashFunc().New()
	h.Write(message)
	return k.sign(types.MessageTypeDigest, h.Sum(nil), options)
}

func (k kmsKey) sign(kind types.MessageType, message []byte, options crypto.SignerOpts) ([]byte, error) {
	if _, pss := options.(*rsa.PSSOptions); pss {
		return nil, errors.New("signing with KMS: PSS is not asked for here")
	}
	algorithm, err := k.algorithm(options.HashFunc())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(k.ctx, kmsWait)
	defer cancel()
	out, err := k.api.Sign(ctx, &kms.SignInput{KeyId: aws.String(k.arn), Message: message, MessageType: kind, SigningAlgorithm: algorithm})
	if err != nil {
		return nil, explainKMS("signing with", k.arn, "kms:Sign", err)
	}
	return out.Signature, nil
}

// explainKMS says what to do about what KMS refuses.
func explainKMS(doing, id, action string, err error) error {
	const what = "%s the KMS key %q: "
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf(what+"interrupted", doing, id)
	}
	if _, none := errors.AsType[*types.NotFoundException](err); none {
		return fmt.Errorf(what+"there is none in that region and account: %w", doing, id, err)
	}
	if _, off := errors.AsType[*types.DisabledException](err); off {
		return fmt.Errorf(what+"it is disabled: enable it with \"aws kms enable-key\": %w", doing, id, err)
	}
	if _, state := errors.AsType[*types.KMSInvalidStateException](err); state {
		return fmt.Errorf(what+"its state forbids it (\"aws kms describe-key\" tells it): cancel its deletion with \"aws kms cancel-key-deletion\" and enable it, or bring in its material: %w", doing, id, err)
	}
	if _, away := errors.AsType[*types.KeyUnavailableException](err); away {
		return fmt.Errorf(what+"AWS cannot reach it just now: try again: %w", doing, id, err)
	}
	if refused, is := errors.AsType[smithy.APIError](err); is && refused.ErrorCode() == "AccessDeniedException" {
		return fmt.Errorf(what+"AWS denies it to these credentials: they need %s on it, by its key policy or theirs: %w", doing, id, action, err)
	}
	return fmt.Errorf(what+"%w", doing, id, err)
}
