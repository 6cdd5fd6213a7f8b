// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
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
	var r reader
	for _, line := range lines {
		if err := r.line(line); err != nil {
			return Knock{}, fmt.Errorf("line %d: %w", line.Number, err)
		}
	}
	if r.crypt == "" {
		return Knock{}, errors.New("there is no <tls-crypt-v2> block in it, and without the key a gateway answers nobody: is it a profile of \"vpnami-pki issue\"?")
	}
	key, err := tlscrypt.ParseClientKey([]byte(r.crypt))
	if err != nil {
		return Knock{}, fmt.Errorf("reading <tls-crypt-v2>: %w", err)
	}
	if len(r.remotes) == 0 {
		return Knock{}, errors.New("there is no \"remote\" in it")
	}
	return r.knock(key)
}

type remoteLine struct{ host, port, protocol string }

type reader struct {
	crypt    string
	remotes  []remoteLine
	port     string
	protocol string
}

func (r *reader) line(line directives.Line) error {
	arg := func(i int) string {
		if i < len(line.Args) {
			return line.Args[i]
		}
		return ""
	}
	switch line.Name {
	case "remote":
		r.remotes = append(r.remotes, remoteLine{arg(0), arg(1), arg(2)})
	case "port", "rport":
		r.port = arg(0)
	case "proto":
		r.protocol = arg(0)
	case "tls-crypt-v2":
		if line.Inline == "" {
			return fmt.Errorf("the tls-crypt-v2 key is in the file %q beside the profile: this check reads inline profiles only", arg(0))
		}
		r.crypt = line.Inline
	}
	return nil
}

func (r *reader) knock(key tlscrypt.ClientKey) (Knock, error) {
	k := Knock{Key: key}
	for _, line := range r.remotes {
		port, protocol := firstOf(line.port, r.port, strconv.Itoa(DefaultPort)), firstOf(line.protocol, r.protocol, "udp")
		door := Door{Protocol: strings.TrimRight(strings.TrimSuffix(protocol, "-client"), "46")}
		if door.Protocol != "udp" && door.Protocol != "tcp" {
			return Knock{}, fmt.Errorf("the protocol %q is none of udp and tcp", protocol)
		}
		var err error
		if door.Remote, err = ParseRemote(line.host + ":" + port); err != nil {
			return Knock{}, err
		}
		if slices.Contains(k.Doors, door) {
			continue // a profile for both kinds of gateway has each twice
		}
		k.Doors = append(k.Doors, door)
	}
	return k, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
