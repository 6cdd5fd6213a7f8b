// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// Door is one address at which a profile's gateway listens.
type Door struct {
	Remote
	Protocol string // "udp" or "tcp"
}

// Knock is what of a profile is needed to see whether its gateway answers.
type Knock struct {
	Doors []Door
	Key   tlscrypt.ClientKey
}

// ParseKnock reads a profile, also one that was edited or made by another
// program: OpenVPN's directives remote, port, proto and tls-crypt-v2. The rest
// is left alone.
func ParseKnock(text []byte) (Knock, error) {
	lines, err := directives.Parse(text)
	if err != nil {
		return Knock{}, err
	}
	crypt := ""
	for _, l := range lines {
		if l.Name != "tls-crypt-v2" {
			continue
		}
		if !l.Inlined {
			return Knock{}, fmt.Errorf("line %d: the tls-crypt-v2 key is in the file %q beside the profile: this check reads inline profiles only", l.Number, strings.Join(l.Args, " "))
		}
		crypt = l.Inline
	}
	if crypt == "" {
		return Knock{}, errors.New("there is no <tls-crypt-v2> block in it, and without the key a gateway answers nobody: is it a profile of \"vpnami-pki issue\"?")
	}
	key, err := tlscrypt.ParseClientKey([]byte(crypt))
	if err != nil {
		return Knock{}, fmt.Errorf("reading <tls-crypt-v2>: %w", err)
	}
	doors, err := doorsOf(directives.Remotes(lines))
	return Knock{Key: key, Doors: doors}, err
}

func doorsOf(remotes []directives.Remote) ([]Door, error) {
	if len(remotes) == 0 {
		return nil, errors.New("there is no \"remote\" in it")
	}
	var doors []Door
	for _, r := range remotes {
		protocol := cmp.Or(r.Protocol, "udp")
		door := Door{Protocol: strings.TrimRight(strings.TrimSuffix(protocol, "-client"), "46")}
		if door.Protocol != "udp" && door.Protocol != "tcp" {
			return nil, fmt.Errorf("the protocol %q is none of udp and tcp", protocol)
		}
		var err error
		if door.Remote, err = ParseRemote(r.Host + ":" + cmp.Or(r.Port, strconv.Itoa(DefaultPort))); err != nil {
			return nil, err
		}
		if slices.Contains(doors, door) {
			continue // a profile for both kinds of gateway has each twice
		}
		doors = append(doors, door)
	}
	return doors, nil
}
