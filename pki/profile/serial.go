// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"math/big"
	"path/filepath"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
)

// serialLine begins the line in which a profile says which certificate it has.
const serialLine = "# Serial "

// Text is the file of a person's profile that OpenVPN reads, within the folder for
// profiles.
func (f Form) Text(name string) string {
	switch f {
	case Tunnelblick:
		return filepath.Join(name+".tblk", "config.ovpn")
	case Files:
		return filepath.Join(name, name+".ovpn")
	case Inline, PKCS12:
	}
	return name + ".ovpn"
}

// SerialIn finds which certificate a profile has: by the certificate, where it lies
// inline, else by what the profile says of it.
func SerialIn(text []byte) (*big.Int, bool) {
	lines, err := directives.Parse(text)
	if err != nil {
		return nil, false
	}
	for _, l := range lines {
		if l.Name != "cert" || !l.Inlined {
			continue
		}
		found, err := bundle.ParseCertificates([]byte(l.Inline))
		if err != nil || len(found) != 1 {
			return nil, false
		}
		return found[0].SerialNumber, true
	}
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, serialLine); is {
			digits, _, _ := strings.Cut(rest, ",")
			return new(big.Int).SetString(digits, 10)
		}
	}
	return nil, false
}
