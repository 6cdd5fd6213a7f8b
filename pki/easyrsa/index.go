// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package easyrsa reads a PKI that easy-rsa 2 or 3 made, on the operator's
// machine. It writes nothing there.
package easyrsa

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// State is what the index says of a certificate.
type State byte

// The states, as OpenSSL writes them ("openssl ca", apps/lib/apps.c).
const (
	Valid   State = 'V'
	Revoked State = 'R'
	Expired State = 'E'
)

// Entry is a line of index.txt.
type Entry struct {
	State    State
	NotAfter time.Time
	At       time.Time // of the revocation
	Reason   string    // of the revocation, as OpenSSL writes it; may be empty
	Serial   *big.Int
	Subject  string // as it stands there; for people to read, not to rely upon
}

// Hex is a serial as easy-rsa writes it, in index.txt and in the names of files.
func Hex(serial *big.Int) string { return fmt.Sprintf("%X", serial.Bytes()) }

const (
	maxIndexBytes = 64 << 20 // a hundred thousand lines have 10 MB
	maxSerialHex  = 40       // RFC 5280: 20 octets
)

// ParseIndex reads index.txt. It is strict: a line that is lost may be that of a
// revocation.
func ParseIndex(raw []byte) ([]Entry, error) {
	if len(raw) > maxIndexBytes {
		return nil, fmt.Errorf("it has %d bytes; %d is the limit", len(raw), maxIndexBytes)
	}
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		return nil, errors.New("its last line is cut off (is the file damaged?)")
	}
	var entries []Entry
	seen := map[string]int{}
	for i, line := range bytes.Split(bytes.TrimSuffix(raw, []byte{'\n'}), []byte{'\n'}) {
		if len(line) == 0 && len(raw) <= 1 {
			break // an index without a certificate
		}
		entry, err := parseEntry(strings.TrimSuffix(string(line), "\r"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w (is the file damaged?)", i+1, err)
		}
		if before, twice := seen[entry.Serial.String()]; twice {
			return nil, fmt.Errorf("line %d: the serial %s is that of line %d too (is the file damaged?)", i+1, Hex(entry.Serial), before)
		}
		seen[entry.Serial.String()] = i + 1
		entries = append(entries, entry)
	}
	return entries, nil
}

func parseEntry(line string) (Entry, error) {
	const fields = 6
	part := strings.Split(line, "\t")
	if len(part) != fields {
		return Entry{}, fmt.Errorf("it has %d fields, %d are expected", len(part), fields)
	}
	var e Entry
	if len(part[0]) == 1 {
		e.State = State(part[0][0])
	}
	var err error
	if e.NotAfter, err = parseTime(part[1]); err != nil {
		return Entry{}, err
	}
	switch e.State {
	case Valid, Expired:
		if part[2] != "" {
			return Entry{}, fmt.Errorf("it has a date of revocation, and the state %q", part[0])
		}
	case Revoked:
		at, reason, _ := strings.Cut(part[2], ",")
		if e.At, err = parseTime(at); err != nil {
			return Entry{}, err
		}
		e.Reason, _, _ = strings.Cut(reason, ",") // after a comma: when the key was lost
	default:
		return Entry{}, fmt.Errorf("its state is %q, not V, R or E", part[0])
	}
	serial := part[3]
	if len(serial) == 0 || len(serial) > maxSerialHex || strings.Trim(serial, "0123456789ABCDEFabcdef") != "" {
		return Entry{}, fmt.Errorf("its serial is %q, which is no hexadecimal number", serial)
	}
	e.Serial, _ = new(big.Int).SetString(serial, 16)
	if e.Serial.Sign() <= 0 {
		return Entry{}, errors.New("its serial is 0")
	}
	e.Subject = part[5]
	return e, nil
}

// parseTime reads ASN.1's two forms: two digits of the year, from 1950 on, or
// four.
func parseTime(s string) (time.Time, error) {
	const short, long = "060102150405Z", "20060102150405Z"
	if len(s) == len(long) {
		if t, err := time.Parse(long, s); err == nil {
			return t.UTC(), nil
		}
	}
	if len(s) == len(short) {
		const turn = 50 // RFC 5280 section 4.1.2.5.1
		century := "20"
		if s[:2] >= fmt.Sprint(turn) {
			century = "19"
		}
		if t, err := time.Parse(long, century+s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 361231235959Z", s)
}
