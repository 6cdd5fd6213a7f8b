// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/youmark/pkcs8"
)

// iterations of PBKDF2 with HMAC-SHA256, as OWASP's Password Storage Cheat
// Sheet asks: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
const iterations = 600_000

// saltSize is NIST SP 800-132's least, 128 bits.
const saltSize = 16

// ErrPassphrase is that the passphrase does not open the CA's key.
var ErrPassphrase = errors.New("the passphrase is wrong")

// KeyType is the kind of a CA's key.
type KeyType string

// The kinds of key that a CA can have. All of them connect with OpenVPN 2.6
// and 2.7, whatever kind the keys below them are.
const (
	ECDSAP256 KeyType = "ecdsa-p256"
	ECDSAP384 KeyType = "ecdsa-p384"
	Ed25519   KeyType = "ed25519"
	RSA3072   KeyType = "rsa-3072"
)

// KeyTypes are those there are, the default first.
func KeyTypes() []string {
	return []string{string(ECDSAP256), string(ECDSAP384), string(Ed25519), string(RSA3072)}
}

// TypeOf is the kind of a public key; false means that it is none of
// [KeyTypes].
func TypeOf(public crypto.PublicKey) (KeyType, bool) {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return ECDSAP256, true
		case elliptic.P384():
			return ECDSAP384, true
		}
	case ed25519.PublicKey:
		return Ed25519, true
	case *rsa.PublicKey:
		return RSA3072, key.N.BitLen() == bitsRSA
	}
	return "", false
}

// bitsRSA gives the same 128 bits of security as P-256 (NIST SP 800-57 part 1,
// table 2).
const bitsRSA = 3072

func (t KeyType) generate(random io.Reader) (crypto.Signer, error) {
	switch t {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), random)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(random)
		return key, err
	case RSA3072:
		return rsa.GenerateKey(random, bitsRSA)
	}
	return nil, fmt.Errorf("the kind %q of key is not known", string(t))
}

// Keeper is who keeps the key of a new CA: [UnderPassphrase] or [HeldByKMS].
type Keeper interface {
	// newKey returns the key, and what lies in the CA's folder to open it again.
	newKey(random io.Reader) (key crypto.Signer, file string, content []byte, err error)
}

// UnderPassphrase makes a key that lies in the folder, encrypted.
type UnderPassphrase struct {
	Type       KeyType // empty: ECDSAP256
	Passphrase []byte
}

// Format keeps the passphrase out of whatever is printed.
func (k UnderPassphrase) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "%s key under a passphrase", k.Type)
}

func (k UnderPassphrase) newKey(random io.Reader) (crypto.Signer, string, []byte, error) {
	kind := k.Type
	if kind == "" {
		kind = ECDSAP256
	}
	key, err := kind.generate(random)
	if err != nil {
		return nil, "", nil, err
	}
	locked, err := lockKey(key, k.Passphrase)
	return key, lockedKeyFile, locked, err
}

// HeldByKMS is a key that AWS KMS made and holds. It never leaves it.
type HeldByKMS struct {
	ARN string
	Key crypto.Signer // asks KMS
}

func (k HeldByKMS) newKey(io.Reader) (crypto.Signer, string, []byte, error) {
	content, err := encode(heldKey{Schema: schema, ARN: k.ARN})
	return k.Key, heldKeyFile, content, err
}

// Of a CA's key one of these two is in its folder.
const (
	lockedKeyFile = "ca.key"
	heldKeyFile   = "kms.json"
)

// heldKey is the content of kms.json.
type heldKey struct {
	Schema int    `json:"schema"`
	ARN    string `json:"arn"`
}

// HeldKeys are the ARNs of the keys of some CAs, by their places in [Folder.CAs],
// that AWS KMS holds; empty for a key that lies in the folder, under a passphrase.
func (f Folder) HeldKeys(places []int) ([]string, error) {
	var arns []string
	for _, i := range places {
		arn, err := f.heldKey(f.mark.numbers()[i])
		if err != nil {
			return nil, err
		}
		arns = append(arns, arn)
	}
	return arns, nil
}

// HeldKeyFile is the path of the file that says which key of AWS KMS is that of a CA, by
// its place in [Folder.CAs].
func (f Folder) HeldKeyFile(place int) string {
	return f.at(caFile(f.mark.numbers()[place], heldKeyFile))
}

// KeptKeys are the places in [Folder.CAs] of the CA that signs and, where its key is
// in the folder or in KMS, of the one that it is replacing.
func (f Folder) KeptKeys() []int {
	return slices.DeleteFunc(f.Places(), func(place int) bool { return place > 0 && !f.keepsKey(f.mark.numbers()[place]) })
}

// keepsKey tells whether the key of a CA is in the folder or in KMS.
func (f Folder) keepsKey(number int) bool {
	return slices.ContainsFunc([]string{lockedKeyFile, heldKeyFile}, func(name string) bool {
		_, err := os.Stat(f.at(caFile(number, name)))
		return err == nil
	})
}

// KeepsKeyOf tells whether the key of the CA that signed a certificate is in the folder
// or in KMS.
func (f Folder) KeepsKeyOf(c Issued) bool {
	return slices.ContainsFunc(f.KeptKeys(), func(place int) bool { return f.mark.numbers()[place] == c.CA })
}

func (f Folder) heldKey(number int) (string, error) {
	path := f.at(caFile(number, heldKeyFile))
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading where the CA's key is: %w", err)
	}
	var held heldKey
	if err := decode(raw, &held); err != nil {
		return "", fmt.Errorf("reading where the CA's key is: %q: %w", path, err)
	}
	if held.Schema != schema || held.ARN == "" {
		return "", fmt.Errorf("reading where the CA's key is: %q is of schema %d and names the key %q: is it of a newer vpnami-pki, or damaged?", path, held.Schema, held.ARN)
	}
	return held.ARN, nil
}

// Keys open the keys of CAs.
type Keys struct {
	Passphrase []byte                                  // of those that lie in the folder
	KMS        func(arn string) (crypto.Signer, error) // opens one that KMS holds
}

// Format keeps the passphrase out of whatever is printed.
func (k Keys) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "keys of CAs") }

func (f Folder) openKey(number int, keys Keys) (crypto.Signer, error) {
	arn, err := f.heldKey(number)
	if err != nil {
		return nil, err
	}
	if arn != "" {
		if keys.KMS == nil {
			return nil, fmt.Errorf("opening the CA's key: AWS KMS holds it, as %q, and was not asked", arn)
		}
		return keys.KMS(arn)
	}
	path := f.at(caFile(number, lockedKeyFile))
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && number == f.mark.Signing:
		return nil, fmt.Errorf("opening the CA's key: %w: %s; %s", err, putBack, withoutKey)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("opening the CA's key: %w: %s; what that CA signed cannot be revoked without it, until %s (\"revoke --serial\" takes back what the other signed)", err, putBack, endIt)
	case err != nil:
		return nil, fmt.Errorf("opening the CA's key: %w", err)
	}
	key, err := unlockKey(text, keys.Passphrase)
	if errors.Is(err, errDamagedKey) {
		way := withoutKey
		if number != f.mark.Signing {
			way = "if there is none, move it away: that CA is being replaced, and the other goes on"
		}
		return nil, fmt.Errorf("opening the CA's key %q: %w: %s; %s", path, err, putBack, way)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the CA's key %q: %w", path, err)
	}
	return key, nil
}

// withoutKey is what is left without the key of the CA that signs: publish takes out who
// is not in the roster.
const withoutKey = "if there is none, this authority signs and revokes nothing any more: make another (\"vpnami-pki init\") for everybody; until then, to keep somebody out, move people/NAME.json away and give \"vpnami-pki publish --replace\""

var errDamagedKey = errors.New("it is not the PEM of an encrypted private key (is the file damaged?)")

// lockKey encrypts a key under a passphrase (PKCS#8, PBES2), as openssl reads.
func lockKey(key crypto.Signer, passphrase []byte) ([]byte, error) {
	der, err := pkcs8.MarshalPrivateKey(key, passphrase, &pkcs8.Opts{
		Cipher:  pkcs8.AES256CBC,
		KDFOpts: pkcs8.PBKDF2Opts{SaltSize: saltSize, IterationCount: iterations, HMACHash: crypto.SHA256},
	})
	if err != nil {
		return nil, fmt.Errorf("encrypting the CA's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
}

func unlockKey(text, passphrase []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "ENCRYPTED PRIVATE KEY" {
		return nil, errDamagedKey
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, passphrase)
	if err != nil {
		// The library tells a wrong passphrase by padding that does not fit,
		// and by a key that does not parse when the padding fits by chance.
		return nil, ErrPassphrase
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is a key that cannot sign")
	}
	return signer, nil
}
