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

// groups are those that TLS has in OpenSSL 3.0, where capitals count, newGroups what 3.5
// has more, and suites13 what TLS 1.3 encrypts with.
const (
	newGroups = "X25519MLKEM768 SecP256r1MLKEM768 SecP384r1MLKEM1024 MLKEM512 MLKEM768 MLKEM1024 DEFAULT"
	groups    = `
X25519 x25519 X448 x448 P-192 P-224 P-256 P-384 P-521 prime192v1 prime256v1 secp160k1 secp160r1 secp160r2 secp192k1 secp192r1
secp224k1 secp224r1 secp256k1 secp256r1 secp384r1 secp521r1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1
ffdhe2048 ffdhe3072 ffdhe4096 ffdhe6144 ffdhe8192 sect163k1 sect163r1 sect163r2 sect193r1 sect193r2 sect233k1 sect233r1
sect239k1 sect283k1 sect283r1 sect409k1 sect409r1 sect571k1 sect571r1
`
	suites13 = "AES-256-GCM-SHA384 CHACHA20-POLY1305-SHA256 AES-128-GCM-SHA256 AES-128-CCM-SHA256 AES-128-CCM-8-SHA256"
)

// knownGroups tells of a list with colons whether OpenSSL 3.0 has all of it.
func knownGroups(list string) bool {
	known := strings.Fields(groups)
	return !slices.ContainsFunc(strings.Split(list, ":"), func(group string) bool { return !slices.Contains(known, group) })
}

// knownNewGroups tells whether OpenSSL 3.5 has all of a list. There, what has a question
// mark may be lacking, and slashes, stars and minuses say more of the order.
func knownNewGroups(list string) bool {
	known := strings.Fields(groups + newGroups)
	return !slices.ContainsFunc(strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == '/' }), func(group string) bool {
		name := strings.TrimLeft(group, "?*-")
		optional := strings.Contains(group[:len(group)-len(name)], "?")
		return !optional && !slices.Contains(known, name)
	})
}

// hasSuite tells of a list with colons whether OpenSSL 3 has one of it, for TLS 1.2 and
// older: it has no RC4, DES, SEED or IDEA any more. Words of its own, which have no
// hyphen, stand for several.
func hasSuite(list string) bool {
	has := func(text string, parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
	}
	return slices.ContainsFunc(strings.Split(list, ":"), func(suite string) bool {
		switch {
		case suite == "" || strings.ContainsAny(suite[:1], "!-+@"):
			return false // it takes away, or puts behind
		case strings.Contains(suite, "-"):
			return has(suite, "AES", "CHACHA20", "ARIA", "CAMELLIA") && !has(suite, "ECDH-")
		}
		return has(suite, "AES", "CHACHA20", "ARIA", "CAMELLIA", "NULL", "DEFAULT", "ALL", "HIGH", "DH", "RSA", "ECDSA", "PSK", "TLSv1", "SUITEB", "FIPS", "SHA") && !has(suite, "RC4", "DES")
	})
}

// hasSuite13 is the same for TLS 1.3.
func hasSuite13(list string) bool {
	known := strings.Fields(suites13)
	return slices.ContainsFunc(strings.Split(list, ":"), func(suite string) bool {
		name, is := strings.CutPrefix(strings.ReplaceAll(suite, "_", "-"), "TLS-")
		return is && slices.Contains(known, name)
	})
}
