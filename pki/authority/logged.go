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
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"
)

// errNotAll is that the log does not go back to the beginning.
var errNotAll = errors.New("what was done before is not in it")

// longestLine is more than a line that names all groups of a person.
const longestLine = 16 << 20

// logged is what the log tells of a CA.
type logged struct {
	revoked []Revocation
	files   []caFiles // as they were left, one time after the other
	written []string  // hashes of the files revoked.tsv that were made for a list
}

// goesBackTo tells whether it has all that was done since files were as they are: it
// tells of them. Those of another copy do not have what was done before. A revoked.tsv
// has all that was revoked until it was written, whatever list lies beside it: a kill
// leaves the one before.
func (l logged) goesBackTo(there caFiles) bool {
	return there.revoked != "" && slices.Contains(l.written, there.revoked) ||
		slices.ContainsFunc(l.files, func(told caFiles) bool { return told.is(there) })
}

// logReader reads what the log tells of one CA, where it is asked for, and once.
type logReader struct {
	last  func() (*caFiles, error)
	whole func() (logged, error)
}

func (f Folder) logOf(ca *x509.Certificate) logReader {
	return logReader{
		last:  sync.OnceValues(func() (*caFiles, error) { return f.lastTold(ca) }),
		whole: sync.OnceValues(func() (logged, error) { return f.revokedByLog(ca) }),
	}
}

// revokedByLog is what was taken back of a CA by the log, which has all of it, also
// what has fallen out of the signed list; beside [errNotAll], what there is.
func (f Folder) revokedByLog(ca *x509.Certificate) (logged, error) {
	var told logged
	found, hash := map[string][]Revocation{}, hashOf(ca.Raw) // by serial, one for each time
	first := true
	var lacking error
	err := f.eachLine(func(text []byte) {
		begins := first
		if first = false; !begins && !slices.ContainsFunc([]string{"revoke", signAction, keepAction, lostAction}, func(word string) bool { return bytes.Contains(text, []byte(word)) }) {
			return // a tenth of what it takes to parse it
		}
		var line logLine
		if json.Unmarshal(text, &line) != nil && !begins {
			return // a crash cut it off
		}
		if begins && line.Action != "init" && line.Action != lostAction {
			lacking = fmt.Errorf("reading the log: the first line of %q is not that of the beginning (was it emptied, or cut?): %w", f.at(logFile), errNotAll)
		}
		if line.Action == lostAction {
			told.files, told.written = nil, nil // there is a gap between those and what follows
		}
		if files := line.files(ca); files != nil {
			told.files = append(told.files, *files)
			if line.Action != lostAction {
				told.written = append(told.written, files.revoked)
			}
		}
		switch line.Action {
		case lostAction:
			lacking = fmt.Errorf("reading the log: %q began anew on %s: %w", f.at(logFile), line.Time.Format(time.DateOnly), errNotAll)
		case "revoke", "revoke-foreign", "revoke-found", "import-revoked":
			if r, is := f.revokedBy(ca, hash, line); is {
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
		lacking = fmt.Errorf("reading the log: %q is empty: %w", f.at(logFile), errNotAll)
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
	file, err := os.Open(f.at(logFile))
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

// revokedBy is the revocation of a line; false, if it is of another CA. Older lines do
// not name it: of a serial that is not kept here they count for each.
func (f Folder) revokedBy(ca *x509.Certificate, hash string, line logLine) (Revocation, bool) {
	serial, ok := parseSerial(cmp.Or(line.Serial, line.Name))
	if !ok {
		return Revocation{}, false
	}
	r := Revocation{Serial: serial, NotAfter: ca.NotAfter, At: line.Time.UTC().Truncate(time.Second)}
	if reason, err := ParseReason(line.Detail); err == nil {
		r.Reason = reason
	}
	if line.CA != "" {
		if line.NotAfter != nil {
			r.NotAfter = *line.NotAfter
		}
		return r, line.CA == hash
	}
	c, err := f.certificate(certificateFileOf(serial))
	if err != nil {
		return r, true
	}
	if err := c.CheckSignatureFrom(ca); err != nil {
		if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); !weak { // no gateway takes that; which CA's it is does not matter
			return r, false
		}
	}
	r.NotAfter = c.NotAfter
	return r, true
}
