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
	CRL         []byte            // the DER of a list that is about to be there
	CA          *x509.Certificate // of which alone it is told; nil: of each
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
	CRL      string     `json:"crl_sha256,omitempty"`
	CA       string     `json:"ca_sha256,omitempty"`
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
		if e.CRL != nil {
			line.CRL = hashOf(e.CRL)
		}
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
