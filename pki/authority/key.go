// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"
)

// iterations of PBKDF2 with HMAC-SHA256, as OWASP's Password Storage Cheat
// Sheet asks: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
const iterations = 600_000

// saltSize is NIST SP 800-132's least, 128 bits.
const saltSize = 16

// ErrPassphrase is that the passphrase does not open the CA's key.
var ErrPassphrase = errors.New("the passphrase is wrong")

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
		return nil, errors.New("it is not the PEM of an encrypted private key (is the file damaged?)")
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
