// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package profile

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// MaxBytes is far more than a profile with long certificate chains has.
const MaxBytes = 1 << 20

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
	if len(text) > MaxBytes {
		return Knock{}, fmt.Errorf("it has %d bytes; a profile has at most %d", len(text), MaxBytes)
	}
	var r reader
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxBytes+1)
	for number := 1; lines.Scan(); number++ {
		if err := r.line(lines.Text()); err != nil {
			return Knock{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Knock{}, err
	}
	if r.block != "" {
		return Knock{}, fmt.Errorf("<%s> is not closed (is the file cut off?)", r.block)
	}
	if r.crypt == nil {
		return Knock{}, fmt.Errorf("there is no <tls-crypt-v2> block in it, and without the key a gateway answers nobody: is it a profile of \"vpnami-pki issue\"?")
	}
	key, err := tlscrypt.ParseClientKey([]byte(strings.Join(r.crypt, "\n") + "\n"))
	if err != nil {
		return Knock{}, fmt.Errorf("reading <tls-crypt-v2>: %w", err)
	}
	if len(r.remotes) == 0 {
		return Knock{}, fmt.Errorf("there is no \"remote\" in it")
	}
	return r.knock(key)
}

type remoteLine struct{ host, port, protocol string }

type reader struct {
	block    string
	crypt    []string
	remotes  []remoteLine
	port     string
	protocol string
}

func (r *reader) line(line string) error {
	line = strings.TrimSpace(line)
	if r.block != "" && r.block != "connection" {
		if line == "</"+r.block+">" {
			r.block = ""
		} else if r.block == "tls-crypt-v2" {
			r.crypt = append(r.crypt, line)
		}
		return nil
	}
	if line == "</connection>" {
		r.block = ""
		return nil
	}
	if strings.HasPrefix(line, "<") && strings.HasSuffix(line, ">") {
		r.block = strings.Trim(line, "<>")
		if r.block == "tls-crypt-v2" {
			r.crypt = []string{}
		}
		return nil
	}
	words := strings.Fields(line)
	for i, word := range words {
		if strings.HasPrefix(word, "#") || strings.HasPrefix(word, ";") {
			words = words[:i]
			break
		}
	}
	word := func(i int) string {
		if i < len(words) {
			return strings.Trim(words[i], "\"'")
		}
		return ""
	}
	switch word(0) {
	case "remote":
		r.remotes = append(r.remotes, remoteLine{word(1), word(2), word(3)})
	case "port", "rport":
		r.port = word(1)
	case "proto":
		r.protocol = word(1)
	case "tls-crypt-v2":
		return fmt.Errorf("the tls-crypt-v2 key is in the file %q beside the profile: this check reads inline profiles only", word(1))
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
