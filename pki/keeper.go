// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// keeperFlags are the flags of the commands that make a CA: what kind of key it
// has, and who keeps it.
type keeperFlags struct {
	keyType, kms string
}

func (f *keeperFlags) add(cmd *cobra.Command, byDefault string) {
	cmd.Flags().StringVar(&f.keyType, "key-type", "", "kind of the CA's key: "+strings.Join(authority.KeyTypes(), ", ")+" (default: "+byDefault+")")
	cmd.Flags().StringVar(&f.kms, "kms", "", "ARN of a key in AWS KMS that is the CA's, for signing (ECC_NIST_P256, ECC_NIST_P384, RSA_3072 or RSA_4096)")
}

func (f *keeperFlags) check(cmd *cobra.Command) error {
	if f.keyType != "" && !slices.Contains(authority.KeyTypes(), f.keyType) {
		return usage(cmd, "--key-type is %q, it must be one of %s", f.keyType, strings.Join(authority.KeyTypes(), ", "))
	}
	if f.kms == "" {
		return nil
	}
	if f.keyType != "" {
		return usage(cmd, "--key-type and --kms are given: a key in KMS has its kind already, give one of them")
	}
	if _, err := checkKeyARN(f.kms); err != nil {
		return usage(cmd, "--kms: %w", err)
	}
	return nil
}

// first is the keeper of a new authority's key.
func (f *keeperFlags) first(ctx context.Context, d *desk) (authority.Keeper, error) {
	if keeper, err := f.held(ctx, d); keeper != nil || err != nil {
		return keeper, err
	}
	passphrase, err := d.newPassphrase()
	return authority.UnderPassphrase{Type: authority.KeyType(f.keyType), Passphrase: passphrase}, err
}

// held is KMS, or none when --kms is not given.
func (f *keeperFlags) held(ctx context.Context, d *desk) (authority.Keeper, error) {
	if f.kms == "" {
		return nil, nil
	}
	key, err := d.kms(ctx, f.kms)
	if err != nil {
		return nil, err
	}
	return authority.HeldByKMS{ARN: f.kms, Key: key}, nil
}

// next is the keeper of the key in the folder that replaces that of a CA: of the same
// kind, unless the flags say otherwise.
func (f *keeperFlags) next(ca crypto.PublicKey, passphrase []byte) authority.Keeper {
	keeper := authority.UnderPassphrase{Type: authority.KeyType(f.keyType), Passphrase: passphrase}
	if keeper.Type == "" {
		keeper.Type, _ = authority.TypeOf(ca)
	}
	return keeper
}

// checkKeyARN refuses what is not the ARN of one key. An alias is not taken: it
// can be pointed at another key, and then the CA's is lost.
func checkKeyARN(s string) (region string, err error) {
	parsed, err := arn.Parse(s)
	if err != nil || parsed.Service != "kms" || parsed.Region == "" || !strings.HasPrefix(parsed.Resource, "key/") {
		return "", fmt.Errorf("%q is not the ARN of a KMS key: give one such as \"arn:aws:kms:eu-central-1:123456789012:key/1234abcd-...\"", s)
	}
	return parsed.Region, nil
}
