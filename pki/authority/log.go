// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"os/user"
	"slices"
	"time"
)

// Entry is one line of the log.
type Entry struct {
	Action      string
	Name        string
	Certificate *x509.Certificate // nil: none is concerned, or its file is lost
	Serial      *big.Int          // of one whose file is lost, or was never here
	Detail      string
}

type logLine struct {
	Time     time.Time  `json:"time"`
	By       string     `json:"by"`
	Action   string     `json:"action"`
	Name     string     `json:"name"`
	Serial   string     `json:"serial,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Detail   string     `json:"detail,omitempty"`
}

// Log adds lines. It is called before what it tells takes effect: what was
// signed and then lost in a crash is known all the same.
func (f Folder) Log(now time.Time, entries ...Entry) error {
	lines, err := logLines(now, entries...)
	if err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	// Whoever reads a log that began anew must not take it for the whole.
	lost, err := logLines(now, Entry{Action: "log-lost", Name: f.Name(), Detail: "log.jsonl was gone: what was done before is not in it"})
	if err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	if err := f.appendLines(lines, lost); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}

func logLines(now time.Time, entries ...Entry) ([]byte, error) {
	var lines bytes.Buffer
	for _, e := range entries {
		line := logLine{Time: now.UTC(), By: operator(), Action: e.Action, Name: e.Name, Detail: e.Detail}
		if e.Serial != nil {
			line.Serial = e.Serial.String()
		}
		if e.Certificate != nil {
			sum := sha256.Sum256(e.Certificate.Raw)
			line.Serial, line.SHA256, line.NotAfter = e.Certificate.SerialNumber.String(), hex.EncodeToString(sum[:]), &e.Certificate.NotAfter
		}
		raw, err := json.Marshal(line)
		if err != nil {
			return nil, err
		}
		lines.Write(append(raw, '\n'))
	}
	return lines.Bytes(), nil
}

// appendLines adds lines to the log; lost go before them where there is none.
func (f Folder) appendLines(lines, lost []byte) error {
	file, err := os.OpenFile(f.at("log.jsonl"), os.O_RDWR|os.O_APPEND, privateFile)
	if errors.Is(err, fs.ErrNotExist) {
		// [Make] laid it down. Its name is made durable once: a sync of the folder
		// for each line is a tenth of what issuing takes.
		lines = append(lost, lines...)
		if file, err = os.OpenFile(f.at("log.jsonl"), os.O_RDWR|os.O_CREATE|os.O_APPEND, privateFile); err == nil {
			err = syncFolder(f.path)
		}
	}
	if err != nil {
		return err
	}
	// A line that a crash cut off must not swallow the next.
	last := make([]byte, 1)
	if size, err := file.Seek(0, io.SeekEnd); err == nil && size > 0 {
		if _, err := file.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			lines = append([]byte{'\n'}, lines...)
		}
	}
	_, err = file.Write(lines)
	return errors.Join(err, file.Sync(), file.Close())
}

// longestLine is more than a line that names all groups of a person.
const longestLine = 16 << 20

// revokedByLog is what was taken back of a CA by the log, which has all of it, also
// what has fallen out of the signed list. Of a serial that is not kept here it does
// not know the CA: that counts for each.
func (f Folder) revokedByLog(ca *x509.Certificate) ([]Revocation, error) {
	file, err := os.Open(f.at("log.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	defer file.Close()
	found, asked := map[string]Revocation{}, map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var line logLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // a crash cut it off
		}
		switch line.Action {
		case "log-lost":
			return nil, fmt.Errorf("reading the log: %q began anew on %s and does not have all", f.at("log.jsonl"), line.Time.Format(time.DateOnly))
		case "revoke", "revoke-foreign", "revoke-found", "import-revoked":
			serial := cmp.Or(line.Serial, line.Name)
			if asked[serial] {
				continue
			}
			asked[serial] = true
			if r, is := f.revokedBy(ca, line); is {
				found[serial] = r
			}
		case "revoke-failed", "revoke-foreign-failed": // the list has it, if it is on one
			delete(found, cmp.Or(line.Serial, line.Name))
			delete(asked, cmp.Or(line.Serial, line.Name))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return slices.Collect(maps.Values(found)), nil
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

// operator says who ran the command, as far as the machine knows.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
