// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/easyrsa"
)

// taking is what becomes of a PKI of easy-rsa.
type taking struct {
	adopted      authority.Adopted
	serverName   string
	certificates int
	outlive      int // of the certificates, those for longer than their CA
	ended        int
	leftOut      []string
	servers      []*big.Int // serials of the gateway's certificates that are good
	revoked      []string   // what is revoked here, and was not there, and why
	doubtful     []string   // who may have been meant to be out
}

// takeOver sorts what easy-rsa signed. It is pure, as is all that it calls.
func takeOver(theirs easyrsa.PKI, serverName string, now time.Time) (taking, error) {
	revoked, err := revocationsOf(theirs.Entries)
	if err != nil {
		return taking{}, err
	}
	sifted, err := sift(theirs, now)
	if err != nil {
		return taking{}, err
	}
	good, signing := withoutCAs(sifted.good, theirs.CA)
	for _, c := range signing {
		revoked = append(revoked, authority.Revocation{Serial: c.SerialNumber, NotAfter: c.NotAfter, At: now.UTC().Truncate(time.Second), Reason: authority.Unspecified})
	}
	slices.SortFunc(revoked, func(a, b authority.Revocation) int { return a.Serial.Cmp(b.Serial) })
	parted := part(good, whoServes(theirs, serverName))
	if serverName == "" {
		serverName = lastServer(parted.servers)
	}
	grouped := group(parted.clients)
	settled := settle(grouped.people, serverName)
	t := taking{
		adopted:    authority.Adopted{CA: theirs.CA, CRLNumber: theirs.CRLNumber, Revoked: revoked, People: settled.people},
		serverName: serverName,
		ended:      sifted.ended,
		doubtful:   outdated(theirs, settled.people),
		servers:    serialsOf(parted.servers),
		leftOut:    slices.Concat(sifted.leftOut, parted.leftOut, grouped.leftOut, settled.leftOut),
	}
	for _, c := range signing {
		t.revoked = append(t.revoked, fmt.Sprintf("%+q, serial %s: it can sign for others, and whoever has its key could come in under any name", c.Subject.CommonName, easyrsa.Hex(c.SerialNumber)))
	}
	t.adopted.Others = others(theirs, t.adopted.People)
	for _, p := range t.adopted.People {
		t.certificates += len(p.Certificates)
		for _, c := range p.Certificates {
			if c.NotAfter.After(theirs.CA.NotAfter) {
				t.outlive++
			}
		}
	}
	return t, nil
}

// withoutCAs parts those that can sign for others from the rest: a gateway takes what
// they sign, and its roster knows people by what stands in that.
func withoutCAs(good []*x509.Certificate, ca *x509.Certificate) (rest, signing []*x509.Certificate) {
	for _, c := range good {
		switch {
		case c.Equal(ca):
		case easyrsa.Signs(c):
			signing = append(signing, c)
		default:
			rest = append(rest, c)
		}
	}
	return rest, signing
}

// outdated are people with a good certificate that is older than one of theirs that was
// revoked: "easyrsa renew", then "revoke", takes back the newer alone.
func outdated(theirs easyrsa.PKI, people []authority.AdoptedPerson) []string {
	newest := map[string]*x509.Certificate{} // of the revoked, by common name
	for _, e := range theirs.Entries {
		c := cmp.Or(theirs.Certificates[e.Serial.String()], theirs.Weak[e.Serial.String()])
		if e.State != easyrsa.Revoked || c == nil {
			continue
		}
		if other := newest[c.Subject.CommonName]; other == nil || c.NotBefore.After(other.NotBefore) {
			newest[c.Subject.CommonName] = c
		}
	}
	var doubtful []string
	for _, p := range people {
		revoked := newest[cmp.Or(p.CommonName, p.Name)]
		if revoked != nil && !slices.ContainsFunc(p.Certificates, func(c *x509.Certificate) bool { return c.NotBefore.After(revoked.NotBefore) }) {
			doubtful = append(doubtful, p.Name)
		}
	}
	return doubtful
}

func serialsOf(certificates []*x509.Certificate) []*big.Int {
	var serials []*big.Int
	for _, c := range certificates {
		serials = append(serials, c.SerialNumber)
	}
	return serials
}

// others are the certificates that easy-rsa keeps and nobody of the roster has: those
// of servers, and what was revoked, has ended or is weak.
func others(theirs easyrsa.PKI, people []authority.AdoptedPerson) []*x509.Certificate {
	left := map[string]*x509.Certificate{}
	maps.Copy(left, theirs.Weak)
	maps.Copy(left, theirs.Certificates)
	for _, p := range people {
		for _, c := range p.Certificates {
			delete(left, c.SerialNumber.String())
		}
	}
	maps.DeleteFunc(left, func(_ string, c *x509.Certificate) bool { return c.Equal(theirs.CA) })
	return slices.SortedFunc(maps.Values(left), func(a, b *x509.Certificate) int { return a.SerialNumber.Cmp(b.SerialNumber) })
}

// revocationsOf are the revocations in an index, by serial.
func revocationsOf(entries []easyrsa.Entry) ([]authority.Revocation, error) {
	var revoked []authority.Revocation
	for _, e := range entries {
		if e.State != easyrsa.Revoked {
			continue
		}
		reason, err := reasonOf(e)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, authority.Revocation{Serial: e.Serial, NotAfter: e.NotAfter, At: e.At, Reason: reason})
	}
	slices.SortFunc(revoked, func(a, b authority.Revocation) int { return a.Serial.Cmp(b.Serial) })
	return revoked, nil
}

func reasonOf(e easyrsa.Entry) (authority.Reason, error) {
	if e.Reason == "" {
		return authority.Unspecified, nil
	}
	// OpenSSL writes in the index what it does not write in a list.
	switch e.Reason {
	// Of a person's certificate a CA's compromise is that of its key: easy-rsa
	// offers both.
	case "keyTime", "CAkeyTime", "CACompromise", "AACompromise":
		return authority.KeyCompromise, nil
	case "holdInstruction", "certificateHold", "removeFromCRL":
		return authority.Unspecified, nil // for good: nothing here takes a revocation back
	}
	reason, err := authority.ParseReason(e.Reason)
	if err != nil {
		return 0, fmt.Errorf("taking over the revocation of %s: %w", easyrsa.Hex(e.Serial), err)
	}
	return reason, nil
}

// sifted is what is in force of what easy-rsa signed.
type sifted struct {
	good    []*x509.Certificate
	ended   int
	leftOut []string
}

func sift(theirs easyrsa.PKI, now time.Time) (sifted, error) {
	var s sifted
	for _, e := range theirs.Entries {
		if e.State == easyrsa.Revoked {
			continue
		}
		if !now.Before(e.NotAfter) {
			s.ended++
			continue
		}
		if weak, is := theirs.Weak[e.Serial.String()]; is {
			s.leftOut = append(s.leftOut, fmt.Sprintf("%+q, serial %s: it is signed with %s, which the gateway refuses; issue another", e.Subject, easyrsa.Hex(e.Serial), weak.SignatureAlgorithm))
			continue
		}
		c, found := theirs.Certificates[e.Serial.String()]
		if !found {
			return sifted{}, fmt.Errorf("taking over the certificate %s of %+q: it is good by index.txt, and none of that serial signed by the CA is in %q: revoke it there, put it back or, if it was removed so that they are out, say --revoke-lost", easyrsa.Hex(e.Serial), e.Subject, theirs.Path)
		}
		s.good = append(s.good, c)
	}
	return s, nil
}

// serves tells whether a certificate can be a gateway's.
func serves(c *x509.Certificate) bool {
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

// servesOnly tells whether a certificate is a gateway's and no client's.
func servesOnly(c *x509.Certificate) bool {
	return serves(c) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
}

// whoServes tells which certificates are the gateway's. One that is for both
// ("easyrsa build-serverClient-full") is a person's where the gateway has, or
// had, one that is for servers alone, or its name is known.
func whoServes(theirs easyrsa.PKI, serverName string) func(*x509.Certificate) bool {
	had := slices.ContainsFunc(theirs.Entries, func(e easyrsa.Entry) bool { // whatever its state
		c := cmp.Or(theirs.Certificates[e.Serial.String()], theirs.Weak[e.Serial.String()])
		return c != nil && servesOnly(c)
	})
	if had || serverName != "" {
		return servesOnly
	}
	return serves
}

// parted are certificates of gateways and of people.
type parted struct {
	servers, clients []*x509.Certificate
	leftOut          []string
}

func part(good []*x509.Certificate, isServer func(*x509.Certificate) bool) parted {
	var p parted
	for _, c := range good {
		switch name := c.Subject.CommonName; {
		case isServer(c):
			p.servers = append(p.servers, c)
			if !servesOnly(c) {
				p.leftOut = append(p.leftOut, fmt.Sprintf("%+q, serial %s: it is the server's, as it is good for servers and none is for a server alone; if it is a person's, give the server's name with --server-name", name, easyrsa.Hex(c.SerialNumber)))
			}
		case bundle.CheckKey(c.PublicKey) != nil || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
			p.leftOut = append(p.leftOut, fmt.Sprintf("%+q, serial %s: the gateway refuses the certificate, which is weak or not marked for clients; issue another", name, easyrsa.Hex(c.SerialNumber)))
		default:
			p.clients = append(p.clients, c)
		}
	}
	return p
}

// lastServer is the name of the server whose certificate ends last, of those with
// a safe name.
func lastServer(servers []*x509.Certificate) string {
	var name string
	var until time.Time
	for _, c := range servers {
		if c.NotAfter.After(until) && bundle.CheckName(c.Subject.CommonName) == nil {
			name, until = c.Subject.CommonName, c.NotAfter
		}
	}
	return name
}

// gathered are those who are taken over, and who is not and why.
type gathered struct {
	people  []authority.AdoptedPerson
	leftOut []string
}

// group makes people of certificates, in the order of their first ones. Who has a
// name outside the alphabet, or one that differs from another's by capitals, is
// named after a serial.
func group(clients []*x509.Certificate) gathered {
	var g gathered
	known := map[string]int{} // in g.people, by name in small letters
	for _, c := range clients {
		name := c.Subject.CommonName
		low, common := strings.ToLower(name), ""
		if bundle.CheckPersonName(name) != nil {
			if err := bundle.CheckCommonName(name); err != nil {
				g.leftOut = append(g.leftOut, fmt.Sprintf("%+q, serial %s: the name cannot be taken (it %v); issue to another", name, easyrsa.Hex(c.SerialNumber), err))
				continue
			}
			common = name
		} else if i, is := known[low]; is && g.people[i].Name != name {
			common = name // to OpenVPN it is another's, in the roster it would be the same
		}
		if common != "" {
			// Bound by its serial: the name that people see is made of it.
			name = fmt.Sprintf("imported-%x", c.SerialNumber)
			low = "\x00" + common // the second certificate of that name is the same person's
		}
		i, is := known[low]
		if !is {
			i = len(g.people)
			known[low] = i
			g.people = append(g.people, authority.AdoptedPerson{Name: name, CommonName: common})
		}
		g.people[i].Certificates = append(g.people[i].Certificates, c)
	}
	return g
}

// settle leaves out whoever cannot be told from another: by OpenVPN, which makes
// "a_b" of "a/b", or in the roster.
func settle(grouped []authority.AdoptedPerson, serverName string) gathered {
	var s gathered
	// Safe names first: another that is the same yields to them.
	safeFirst := func(a, b authority.AdoptedPerson) int { return cmp.Compare(len(a.CommonName), len(b.CommonName)) }
	files := map[string]string{} // to OpenVPN
	rows := map[string]bool{}    // of the roster
	for _, p := range slices.SortedStableFunc(slices.Values(grouped), safeFirst) {
		common := cmp.Or(p.CommonName, p.Name)
		file, row := bundle.ClientFile(common), strings.ToLower(p.Name)
		other, shared := files[file]
		switch {
		case shared:
			s.leftOut = append(s.leftOut, fmt.Sprintf("%+q, %s: to OpenVPN that is %q, as %+q is; issue to another name", common, p.Name, file, other))
			continue
		case rows[row]:
			s.leftOut = append(s.leftOut, fmt.Sprintf("%+q: it would be %q in the roster, which is another's name; issue to another", common, p.Name))
			continue
		}
		files[file], rows[row] = common, true
		if p.CommonName == "" && strings.EqualFold(p.Name, serverName) {
			s.leftOut = append(s.leftOut, fmt.Sprintf("%q: it is the server's name too; issue to another", p.Name))
			continue
		}
		s.people = append(s.people, p)
	}
	return s
}
