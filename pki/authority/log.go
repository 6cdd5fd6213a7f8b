// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/user"
	"time"
)

// Entry is one line of the log.
type Entry struct {
	Action      string
	Name        string
	Certificate *x509.Certificate // nil: none is concerned, or its file is lost
	Serial      *big.Int          // of one whose file is lost, or was never here
	Detail      string
	CA          *x509.Certificate // of which alone it is told; nil: of each
	files       caFiles           // of a CA, of which it is told
	lists       []listLine        // of all CAs
}

const logFile = "log.jsonl"

type logLine struct {
	Time     time.Time  `json:"time"`
	By       string     `json:"by"`
	Action   string     `json:"action"`
	Name     string     `json:"name"`
	Serial   string     `json:"serial,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Detail   string     `json:"detail,omitempty"`
	CRL      string     `json:"crl_sha256,omitempty"`
	Revoked  string     `json:"revoked_sha256,omitempty"` // of revoked.tsv
	CA       string     `json:"ca_sha256,omitempty"`
	Lists    []listLine `json:"lists,omitempty"`
}

// Log adds lines, or none. It is called before what it tells takes effect: what was
// signed and then lost in a crash is known all the same.
func (f Folder) Log(now time.Time, entries ...Entry) error {
	lines, err := logLines(now, entries...)
	if err == nil {
		err = f.appendLines(lines, func() ([]byte, error) { return logLines(now, f.lostEntry()) })
	}
	if err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}

// CheckLogged refuses an authority without a log: nothing but the log tells of older
// files of a CA that agree with each other.
func (f Folder) CheckLogged() error {
	info, err := os.Stat(f.at(logFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("it is gone")
	case err == nil && info.Size() == 0:
		err = errors.New("it is empty")
	case err == nil:
		return nil
	}
	return fmt.Errorf("reading the log %q: %w: %s; if there is none, the next command that writes begins it anew, and what was revoked before is known by revoked.tsv and the signed list alone: let \"vpnami-pki publish\" show how they differ from what is published", f.at(logFile), err, putBack)
}

func logLines(now time.Time, entries ...Entry) ([]byte, error) {
	var lines bytes.Buffer
	for _, e := range entries {
		line := logLine{Time: now.UTC(), By: operator(), Action: e.Action, Name: e.Name, Detail: e.Detail}
		if e.Serial != nil {
			line.Serial = e.Serial.String()
		}
		line.CRL, line.Revoked, line.Lists = e.files.list, e.files.revoked, e.lists
		if e.CA != nil {
			line.CA = hashOf(e.CA.Raw)
		}
		if e.Certificate != nil {
			line.Serial, line.SHA256, line.NotAfter = e.Certificate.SerialNumber.String(), hashOf(e.Certificate.Raw), &e.Certificate.NotAfter
		}
		raw, err := json.Marshal(line)
		if err != nil {
			return nil, err
		}
		lines.Write(append(raw, '\n'))
	}
	return lines.Bytes(), nil
}

// hashOf is a SHA-256 as the log has it.
func hashOf(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// appendLines adds lines to the log; lost makes those that go before them where there
// are none.
func (f Folder) appendLines(lines []byte, lost func() ([]byte, error)) error {
	file, err := os.OpenFile(f.at(logFile), os.O_RDWR|os.O_APPEND, privateFile)
	if errors.Is(err, fs.ErrNotExist) {
		// [Make] laid it down. Its name is made durable once: a sync of the folder
		// for each line is a tenth of what issuing takes.
		if file, err = os.OpenFile(f.at(logFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, privateFile); err == nil {
			err = syncFolder(f.path)
		}
	}
	if err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		lines, err = joined(file, size, lines, lost)
	}
	if err == nil {
		err = write(file, size, lines)
	}
	return errors.Join(err, file.Close())
}

// write adds lines to a file of a size. Where that fails, as on a full disk, none of them
// stays: what they tell of is not done then.
func write(file *os.File, size int64, lines []byte) error {
	n, err := file.Write(lines)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		return nil
	}
	if info, failed := file.Stat(); failed == nil && info.Size() == size+int64(n) { // else another has added some
		err = errors.Join(err, os.Truncate(file.Name(), size), file.Sync()) // Windows cuts nothing that is open to append
	}
	return err
}

// joined are lines as they are to be written at the end of the log.
func joined(file *os.File, size int64, lines []byte, lost func() ([]byte, error)) ([]byte, error) {
	if size == 0 {
		head, err := lost()
		return append(head, lines...), err
	}
	// A line that a crash cut off must not swallow the next.
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, size-1); err == nil && last[0] != '\n' {
		lines = append([]byte{'\n'}, lines...)
	}
	return lines, nil
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
