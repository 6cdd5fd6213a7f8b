// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build bench

package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// The program that is measured: the key of the CA lies in a file, in the clear,
// in the place of one that KMS holds. So the derivation of a key from a
// passphrase is not measured. No release has this entry.
//
// It leaves what it used of the machine where it is told to. What a parent hears of a
// child's memory is no less than its own at the time of the fork (getrusage(2)).
func main() {
	code := run(func(context.Context, string) (crypto.Signer, error) {
		return readPlainKey(os.Getenv("VPNAMI_BENCH_KEY"))
	}, func(authority.Folder) error { return nil })
	if path := os.Getenv("VPNAMI_BENCH_STATUS"); path != "" {
		status, err := os.ReadFile("/proc/self/status")
		if err == nil {
			err = os.WriteFile(path, status, 0o600)
		}
		if err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}

func readPlainKey(path string) (crypto.Signer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%q is no PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%q cannot sign", path)
	}
	return signer, nil
}
