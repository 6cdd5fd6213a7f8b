// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Revocation is one certificate that was taken back.
type Revocation struct {
	Serial   *big.Int
	NotAfter time.Time // end of the certificate
	At       time.Time // when it was revoked
	Reason   Reason
}

// Reason is why a certificate was revoked, as RFC 5280 section 5.3.1 numbers
// it.
type Reason int

// The reasons that make sense for a person's certificate. certificateHold is
// not among them: what is revoked stays so.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	PrivilegeWithdrawn   Reason = 9
)

// reasons are in the order in which they are listed for people.
func reasons() []Reason {
	return []Reason{Unspecified, KeyCompromise, AffiliationChanged, Superseded, CessationOfOperation, PrivilegeWithdrawn}
}

func (r Reason) String() string {
	switch r {
	case Unspecified:
		return "unspecified"
	case KeyCompromise:
		return "keyCompromise"
	case AffiliationChanged:
		return "affiliationChanged"
	case Superseded:
		return "superseded"
	case CessationOfOperation:
		return "cessationOfOperation"
	case PrivilegeWithdrawn:
		return "privilegeWithdrawn"
	}
	return fmt.Sprintf("reason %d", int(r))
}

// leavesKey tells whether a key is still its owner's alone by the reason for which
// a certificate of it was revoked. Where none was given, nobody knows.
func (r Reason) leavesKey() bool {
	return r == AffiliationChanged || r == Superseded || r == CessationOfOperation
}

// ReasonNames are those that [ParseReason] takes.
func ReasonNames() []string {
	var names []string
	for _, r := range reasons() {
		names = append(names, r.String())
	}
	return names
}

// ParseReason reads the name of a reason as openssl and RFC 5280 write it;
// capitals do not count.
func ParseReason(s string) (Reason, error) {
	for _, r := range reasons() {
		if strings.EqualFold(s, r.String()) {
			return r, nil
		}
	}
	if strings.EqualFold(s, "certificateHold") {
		return 0, errors.New("the reason certificateHold can be taken back, and nothing here takes a revocation back: choose another")
	}
	return 0, fmt.Errorf("the reason %q is none of %s", s, strings.Join(ReasonNames(), ", "))
}

// revokedHead is the first line of revoked.tsv, and revokedFoot the last: a file
// that was cut off between two lines lacks it.
const revokedHead = "# vpnami revoked 1: serial, end of the certificate, revoked, reason\n"

func revokedFoot(n int) string { return fmt.Sprintf("# %d in all\n", n) }

// EndedFor is how long after its end a revoked certificate is listed: a gateway
// whose clock is days slow would take it for good.
const EndedFor = 7 * 24 * time.Hour

// unexpired drops what has ended so long ago that nobody lets it in.
func unexpired(revoked []Revocation, now time.Time) []Revocation {
	return slices.DeleteFunc(slices.Clone(revoked), func(r Revocation) bool { return now.After(r.NotAfter.Add(EndedFor)) })
}

// encodeRevoked writes revoked.tsv, in the order of the serials.
func encodeRevoked(revoked []Revocation) []byte {
	revoked = slices.Clone(revoked)
	slices.SortFunc(revoked, func(a, b Revocation) int { return a.Serial.Cmp(b.Serial) })
	out := make([]byte, 0, len(revokedHead)+len(revoked)*96)
	out = append(out, revokedHead...)
	for _, r := range revoked {
		out = r.Serial.Append(out, 10)
		out = append(out, '\t')
		out = r.NotAfter.UTC().AppendFormat(out, time.RFC3339)
		out = append(out, '\t')
		out = r.At.UTC().AppendFormat(out, time.RFC3339)
		out = append(out, '\t')
		out = append(out, r.Reason.String()...)
		out = append(out, '\n')
	}
	return append(out, revokedFoot(len(revoked))...)
}

// parseRevoked reads revoked.tsv. It is strict: what is lost of it lets
// somebody in.
func parseRevoked(raw []byte) ([]Revocation, error) {
	body, ours := bytes.CutPrefix(raw, []byte(revokedHead))
	if !ours {
		return nil, errors.New("its first line is not that of a list of revocations (is the file damaged?)")
	}
	if len(body) > 0 && body[len(body)-1] != '\n' {
		return nil, errors.New("its last line is cut off (is the file damaged?)")
	}
	lines := max(bytes.Count(body, []byte{'\n'})-1, 0)
	body, whole := bytes.CutSuffix(body, []byte(revokedFoot(lines)))
	if !whole {
		return nil, errors.New("its last line does not say how many there are (was it cut off?)")
	}
	revoked := make([]Revocation, 0, lines)
	for number := 2; len(body) > 0; number++ {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		r, err := parseRevocation(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w (is the file damaged?)", number, err)
		}
		if len(revoked) > 0 && revoked[len(revoked)-1].Serial.Cmp(r.Serial) >= 0 {
			return nil, fmt.Errorf("line %d: the serial %s is not above the one before it (is the file damaged?)", number, r.Serial)
		}
		revoked = append(revoked, r)
	}
	return revoked, nil
}

func parseRevocation(line string) (Revocation, error) {
	serial, rest, _ := strings.Cut(line, "\t")
	end, rest, _ := strings.Cut(rest, "\t")
	at, reason, whole := strings.Cut(rest, "\t")
	if !whole {
		return Revocation{}, errors.New("it has not four fields")
	}
	var r Revocation
	number, ok := parseSerial(serial)
	if !ok {
		return Revocation{}, fmt.Errorf("the serial %q is no positive number", serial)
	}
	r.Serial = number
	var err error
	if r.NotAfter, err = parseMoment(end); err != nil {
		return Revocation{}, err
	}
	if r.At, err = parseMoment(at); err != nil {
		return Revocation{}, err
	}
	r.Reason, err = ParseReason(reason)
	return r, err
}

// parseSerial reads a positive decimal number without leading zeros. RFC 5280
// limits a serial to 20 octets, which is 49 digits. What fits into 128 bits, as
// all serials that are made here do, is read in two parts of 64, in a fraction of
// the time that big.Int takes for any number.
func parseSerial(s string) (*big.Int, bool) {
	if s == "" || len(s) > 49 || s[0] == '0' {
		return nil, false
	}
	var high, low uint64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return nil, false
		}
		over, tens := bits.Mul64(low, 10)
		sum, carried := bits.Add64(tens, uint64(c-'0'), 0)
		beyond, product := bits.Mul64(high, 10)
		low = sum
		if high, carried = bits.Add64(product, over, carried); beyond|carried != 0 {
			return new(big.Int).SetString(s, 10) // longer
		}
	}
	var octets [16]byte
	binary.BigEndian.PutUint64(octets[:], high)
	binary.BigEndian.PutUint64(octets[8:], low)
	return new(big.Int).SetBytes(octets[:]), true
}

func parseMoment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Location() != time.UTC || t.Nanosecond() != 0 {
		return time.Time{}, fmt.Errorf("%q is no time in UTC such as 2026-11-23T12:00:00Z", s)
	}
	return t, nil
}
