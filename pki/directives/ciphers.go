// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
)

// ciphers are what "openvpn --show-ciphers" names with OpenSSL 3.
const ciphers = `
AES-128-CBC AES-128-CFB AES-128-CFB1 AES-128-CFB8 AES-128-GCM AES-128-OFB
AES-192-CBC AES-192-CFB AES-192-CFB1 AES-192-CFB8 AES-192-GCM AES-192-OFB
AES-256-CBC AES-256-CFB AES-256-CFB1 AES-256-CFB8 AES-256-GCM AES-256-OFB
ARIA-128-CBC ARIA-128-CFB ARIA-128-CFB1 ARIA-128-CFB8 ARIA-128-GCM ARIA-128-OFB
ARIA-192-CBC ARIA-192-CFB ARIA-192-CFB1 ARIA-192-CFB8 ARIA-192-GCM ARIA-192-OFB
ARIA-256-CBC ARIA-256-CFB ARIA-256-CFB1 ARIA-256-CFB8 ARIA-256-GCM ARIA-256-OFB
CAMELLIA-128-CBC CAMELLIA-128-CFB CAMELLIA-128-CFB1 CAMELLIA-128-CFB8 CAMELLIA-128-OFB
CAMELLIA-192-CBC CAMELLIA-192-CFB CAMELLIA-192-CFB1 CAMELLIA-192-CFB8 CAMELLIA-192-OFB
CAMELLIA-256-CBC CAMELLIA-256-CFB CAMELLIA-256-CFB1 CAMELLIA-256-CFB8 CAMELLIA-256-OFB
CHACHA20-POLY1305 SM4-CBC SM4-CFB SM4-OFB
DES-EDE-CBC DES-EDE-CFB DES-EDE-OFB DES-EDE3-CBC DES-EDE3-CFB DES-EDE3-CFB1 DES-EDE3-CFB8 DES-EDE3-OFB
`

// moreCiphers are other names that OpenSSL has for some of them.
const moreCiphers = "AES128 AES192 AES256 id-aes128-GCM id-aes192-GCM id-aes256-GCM CAMELLIA128 CAMELLIA192 CAMELLIA256 DES3"

// digests are what "openvpn --show-digests" names, and moreDigests other names.
const (
	digests = `
BLAKE2b512 BLAKE2s256 KECCAK-KMAC-128 KECCAK-KMAC-256 MD5 MD5-SHA1 NULL RIPEMD160 SHA1 SHA224 SHA256
SHA3-224 SHA3-256 SHA3-384 SHA3-512 SHA384 SHA512 SHA512-224 SHA512-256 SHAKE128 SHAKE256 SM3
`
	moreDigests = "SHA-1 SSL3-SHA1 SSL3-MD5 RIPEMD RMD160 RIPEMD-160 SHA-224 SHA-256 SHA-384 SHA-512 SHA2-224 SHA2-256 SHA2-384 SHA2-512"
)

// isOf tells whether a name is one of those in lists. Capitals do not count.
func isOf(name string, lists ...string) bool {
	return slices.ContainsFunc(strings.Fields(strings.Join(lists, " ")), func(known string) bool { return strings.EqualFold(name, known) })
}

// knownCiphers tells of a list with colons whether OpenVPN takes it, and whether it
// passes over nothing of it: it does over what has a question mark before it.
func knownCiphers(list string) (takes, all bool) {
	takes, all, one := true, true, false
	for _, cipher := range strings.FieldsFunc(list, func(r rune) bool { return r == ':' }) {
		name, optional := strings.CutPrefix(cipher, "?")
		if name == "none" || isOf(name, ciphers, moreCiphers) {
			one = true
			continue
		}
		all = false
		takes = takes && optional
	}
	return takes && one, all
}
