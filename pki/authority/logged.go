// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"
	"time"
)

// signedEntry tells of a list; [Folder.lastLogged] reads it.
func signedEntry(ca *x509.Certificate, number *big.Int, der []byte) Entry {
	return Entry{Action: "sign-crl", Name: nameOf(ca), Certificate: ca, Detail: numbered + number.String(), CRL: der}
}

const numbered = "number "

// signed is the number in a line that [signedEntry] made; nil, if it is another.
func (line logLine) signed(ca *x509.Certificate) *big.Int {
	digits, is := strings.CutPrefix(line.Detail, numbered)
	if line.Action != "sign-crl" || !is || line.Name != nameOf(ca) && line.Name != ca.Subject.CommonName { // as it is, in older lines
		return nil
	}
	if line.SHA256 != "" && line.SHA256 != hashOf(ca.Raw) { // empty in older lines
		return nil
	}
	number, _ := new(big.Int).SetString(digits, 10)
	return number
}

// loggedCRL is a list that the log tells of.
type loggedCRL struct {
	number *big.Int
	hash   string // empty in older lines
}

// logged is a list as the log tells of it.
func (s signedCRL) logged() loggedCRL { return loggedCRL{s.head.Number, hashOf(s.der)} }

// is tells whether it is the list that is there: another copy of the folder may have
// signed one of the same number.
func (l loggedCRL) is(there loggedCRL) bool {
	if l.hash == "" {
		return l.number.Cmp(there.number) == 0
	}
	return l.hash == there.hash
}

// Of the log so much is read at once, from its end; what a line has at most overlaps.
const (
	logPiece   = 1 << 20
	logOverlap = 64 << 10
)

// lastLogged is the list of a CA that was signed last, by the log; nil, if it tells of
// none. The last such line is near the end, as a rule, and a log of a hundred
// thousand certificates has 30 MB: no other line is looked into.
func (f Folder) lastLogged(ca *x509.Certificate) (*loggedCRL, error) {
	file, err := os.Open(f.at("log.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	piece := make([]byte, logPiece+logOverlap)
	for end := size; end > 0; end = max(end-logPiece, 0) {
		start := max(end-logPiece, 0)
		n, err := file.ReadAt(piece[:min(end+logOverlap, size)-start], start)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the log: %w", err)
		}
		var last *loggedCRL
		for rest := piece[:n]; ; {
			i := bytes.Index(rest, []byte("sign-crl"))
			if i < 0 {
				break
			}
			from := bytes.LastIndexByte(rest[:i], '\n') + 1
			text, after, _ := bytes.Cut(rest[from:], []byte{'\n'})
			rest = after
			var line logLine
			if json.Unmarshal(text, &line) != nil {
				continue // cut off by a crash, or by the beginning of the piece
			}
			if number := line.signed(ca); number != nil {
				last = &loggedCRL{number, line.CRL}
			}
		}
		if last != nil {
			return last, nil
		}
	}
	return nil, nil
}

// errNotAll is that the log does not go back to the beginning.
var errNotAll = errors.New("what was done before is not in it")

// longestLine is more than a line that names all groups of a person.
const longestLine = 16 << 20

// logged is what the log tells of a CA.
type logged struct {
	revoked []Revocation
	lists   []loggedCRL
}

// goesBackTo tells whether it has all that was done since a list: it tells of that list,
// or begins with the next. A list of another copy does not have what was done before.
func (l logged) goesBackTo(list loggedCRL) bool {
	next := new(big.Int).Add(list.number, big.NewInt(1))
	return len(l.lists) > 0 && l.lists[0].number.Cmp(next) == 0 ||
		slices.ContainsFunc(l.lists, func(told loggedCRL) bool { return told.is(list) })
}

// revokedByLog is what was taken back of a CA by the log, which has all of it, also
// what has fallen out of the signed list; beside [errNotAll], what there is. Of a serial
// that is not kept here it does not know the CA: that counts for each.
func (f Folder) revokedByLog(ca *x509.Certificate) (logged, error) {
	var told logged
	found, hash := map[string][]Revocation{}, hashOf(ca.Raw) // by serial, one for each time
	first := true
	var lacking error
	err := f.eachLine(func(text []byte) {
		begins := first
		if first = false; !begins && !slices.ContainsFunc([]string{"revoke", "log-lost", "sign-crl"}, func(word string) bool { return bytes.Contains(text, []byte(word)) }) {
			return // a tenth of what it takes to parse it
		}
		var line logLine
		if json.Unmarshal(text, &line) != nil && !begins {
			return // a crash cut it off
		}
		if begins && line.Action != "init" && line.Action != "log-lost" {
			lacking = fmt.Errorf("reading the log: the first line of %q is not that of the beginning (was it emptied, or cut?): %w", f.at("log.jsonl"), errNotAll)
		}
		switch line.Action {
		case "sign-crl":
			if number := line.signed(ca); number != nil {
				told.lists = append(told.lists, loggedCRL{number, line.CRL})
			}
		case "log-lost":
			lacking = fmt.Errorf("reading the log: %q began anew on %s: %w", f.at("log.jsonl"), line.Time.Format(time.DateOnly), errNotAll)
		case "revoke", "revoke-foreign", "revoke-found", "import-revoked":
			if r, is := f.revokedBy(ca, line); is {
				serial := cmp.Or(line.Serial, line.Name)
				found[serial] = append(found[serial], r)
			}
		case "revoke-failed", "revoke-foreign-failed": // that time; it may have been revoked before
			serial := cmp.Or(line.Serial, line.Name)
			if times := found[serial]; len(times) > 0 && (line.CA == "" || line.CA == hash) { // empty in older lines
				found[serial] = times[:len(times)-1]
			}
		}
	})
	if err != nil {
		return logged{}, err
	}
	if first {
		lacking = fmt.Errorf("reading the log: %q is empty: %w", f.at("log.jsonl"), errNotAll)
	}
	for _, times := range found {
		if len(times) > 0 {
			told.revoked = append(told.revoked, times[0])
		}
	}
	return told, lacking
}

// eachLine goes through the log.
func (f Folder) eachLine(do func(text []byte)) error {
	file, err := os.Open(f.at("log.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the log: %w: %w", err, errNotAll)
	}
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		do(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	return nil
}

// revokedBy is the revocation of a line; false, if it is of another CA.
func (f Folder) revokedBy(ca *x509.Certificate, line logLine) (Revocation, bool) {
	serial, ok := parseSerial(cmp.Or(line.Serial, line.Name))
	if !ok {
		return Revocation{}, false
	}
	r := Revocation{Serial: serial, NotAfter: ca.NotAfter, At: line.Time.UTC().Truncate(time.Second)}
	if reason, err := ParseReason(line.Detail); err == nil {
		r.Reason = reason
	}
	if c, err := f.certificate(certificateFileOf(serial)); err == nil {
		r.NotAfter = c.NotAfter
		if err := c.CheckSignatureFrom(ca); err != nil {
			_, weak := errors.AsType[x509.InsecureAlgorithmError](err)
			return r, weak // no gateway takes it; which CA's it is does not matter
		}
	}
	return r, true
}
