// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"math/big"
)

// CertificatesPEM returns the certificates one after the other, as OpenVPN's
// ca and cert directives read them.
func CertificatesPEM(certificates ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.Bytes()
}

// CRLPEM returns the revocation list as OpenVPN's crl-verify directive reads it.
func CRLPEM(list *x509.RevocationList) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw})
}

func revoked(list *x509.RevocationList) []*big.Int {
	if list == nil {
		return nil
	}
	serials := make([]*big.Int, 0, len(list.RevokedCertificateEntries))
	for _, entry := range list.RevokedCertificateEntries {
		serials = append(serials, entry.SerialNumber)
	}
	return serials
}
