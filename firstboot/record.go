// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Format prints whose intent it is and nothing of it: package fmt asks no
// method of what lies in unexported fields, and files there may be keys.
func (in intent) Format(to fmt.State, _ rune) {
	_, _ = fmt.Fprintf(to, "intent of instance %s (%d files)", in.instance.ID, len(in.files))
}

// recordOf is what a generation says of itself.
func recordOf(in intent) record {
	r := record{Instance: in.instance.ID, Role: in.config.Role}
	if in.config.Role != RoleVPN {
		return r
	}
	r.Network, r.Proto, r.Port = in.config.Network, in.config.Proto, in.config.Port
	r.Server, r.CRL = serverEnd(in.bundle), crlEnd(in.bundle.Access.CRL, in.bundle.Server.CA)
	r.PreviousCRL = crlEnd(in.bundle.Access.PreviousCRL, in.bundle.Server.CA)
	r.Own = ownEnd(in.config, in.bundle.Access.Roster)
	return r
}

func serverEnd(b bundle.Bundle) ServerEnd {
	if b.Server.Certificate == nil {
		return ServerEnd{}
	}
	sum := sha256.Sum256(b.Server.Certificate.Raw)
	end := ServerEnd{
		Name:        b.Server.Certificate.Subject.CommonName,
		Fingerprint: hex.EncodeToString(sum[:]),
		NotAfter:    b.Server.Certificate.NotAfter.UTC(),
		Generation:  b.Head.Generation,
		People:      len(b.Access.Roster),
	}
	for _, ca := range b.Server.CA {
		if end.CANotAfter.IsZero() || ca.NotAfter.Before(end.CANotAfter) {
			end.CANotAfter = ca.NotAfter.UTC()
		}
	}
	return end
}

func crlEnd(list *x509.RevocationList, cas []*x509.Certificate) CRLEnd {
	if list == nil {
		return CRLEnd{}
	}
	end := CRLEnd{NextUpdate: list.NextUpdate.UTC(), Revoked: len(list.RevokedCertificateEntries)}
	if list.Number != nil {
		end.Number = list.Number.String()
	}
	for _, ca := range cas {
		if list.CheckSignatureFrom(ca) == nil {
			sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
			end.Issuer = hex.EncodeToString(sum[:])
		}
	}
	return end
}

// describe puts what is in force into the result.
func (r *Result) describe(g record) {
	r.Network, r.Port, r.Server, r.CRL, r.Own = "", "", nil, nil, nil
	if g.Port == 0 {
		return
	}
	r.Network, r.Port = g.Network.String(), fmt.Sprintf("%s/%d", g.Proto, g.Port)
	r.Server, r.CRL, r.Own = &g.Server, &g.CRL, g.Own
}
