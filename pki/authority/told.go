// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
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
)

// The log tells how the files of a CA were left: by that, others are known that were put
// in their place.

// caFiles is how the files of a CA in which it has what is revoked stand, or stood when
// the log told of them.
type caFiles struct {
	number  *big.Int // of the list
	list    string   // hash of the list; empty in older lines
	revoked string   // hash of revoked.tsv; empty in older lines, and where it is gone or damaged
}

// is tells whether what is there is what was told of: another copy of the folder may
// have signed a list of the same number. A list whose signer had a clock that was ahead
// lacks what seemed to have ended, so that nothing but its hash tells of a revoked.tsv
// that lacks it too.
func (told caFiles) is(there caFiles) bool {
	if told.list == "" {
		return told.number.Cmp(there.number) == 0
	}
	return told.list == there.list && (told.revoked == "" || told.revoked == there.revoked)
}

// whole tells whether nothing is left out, as in older lines.
func (told caFiles) whole() bool { return told.list != "" && told.revoked != "" }

// beside is a list with the revoked.tsv of its CA.
func (s signedCRL) beside(file revokedFile) caFiles {
	return caFiles{s.head.Number, hashOf(s.der), file.hash()}
}

// signedEntry tells of the files that a CA is about to have.
func signedEntry(ca *x509.Certificate, files caFiles) Entry {
	return Entry{Action: signAction, Name: nameOf(ca), Certificate: ca, Detail: numbered + files.number.String(), files: files}
}

// keptEntry is [signedEntry] of a list that is not signed anew, beside a revoked.tsv that
// may be.
func keptEntry(ca *x509.Certificate, files caFiles) Entry {
	entry := signedEntry(ca, files)
	entry.Action = keepAction
	return entry
}

// lostEntry tells that a log begins anew, and of the files that are there then. Whoever
// reads such a log must not take it for the whole.
func (f Folder) lostEntry() Entry {
	return Entry{Action: lostAction, Name: f.Name(), Detail: "log.jsonl was gone: what was done before is not in it", lists: f.listsThere()}
}

// The actions of lines that tell of lists.
const (
	signAction = "sign-crl"
	keepAction = "keep-crl"
	lostAction = "log-lost"
)

const numbered = "number "

// listLine is one of the lists in a line that tells of several.
type listLine struct {
	CA      string `json:"ca_sha256"`
	Number  string `json:"number"`
	CRL     string `json:"crl_sha256"`
	Revoked string `json:"revoked_sha256,omitempty"`
}

// listsThere are those of all CAs, as far as they can be read.
func (f Folder) listsThere() []listLine {
	var lists []listLine
	for _, number := range slices.Concat(f.mark.numbers(), f.replaced()) {
		ca, err := f.certificate(caFile(number, "ca.crt"))
		if err != nil {
			continue
		}
		signed, err := f.signed(number)
		if err != nil {
			continue
		}
		file, _ := f.revokedFile(number)
		there := signed.beside(file)
		lists = append(lists, listLine{hashOf(ca.Raw), there.number.String(), there.list, there.revoked})
	}
	return lists
}

// files are those of a CA that a line tells of; nil, if it tells of none.
func (line logLine) files(ca *x509.Certificate) *caFiles {
	hash := hashOf(ca.Raw)
	if line.Action == lostAction {
		i := slices.IndexFunc(line.Lists, func(l listLine) bool { return l.CA == hash })
		if i < 0 {
			return nil
		}
		return filesOf(line.Lists[i].Number, line.Lists[i].CRL, line.Lists[i].Revoked)
	}
	digits, is := strings.CutPrefix(line.Detail, numbered)
	if line.Action != signAction && line.Action != keepAction || !is {
		return nil
	}
	if line.Name != nameOf(ca) && line.Name != ca.Subject.CommonName { // as it is, in older lines
		return nil
	}
	if line.SHA256 != "" && line.SHA256 != hash { // empty in older lines
		return nil
	}
	return filesOf(digits, line.CRL, line.Revoked)
}

func filesOf(digits, list, revoked string) *caFiles {
	number, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return nil
	}
	return &caFiles{number, list, revoked}
}

// Of the log so much is read at once, from its end; what a line has at most overlaps.
const (
	logPiece   = 1 << 20
	logOverlap = 64 << 10
)

// lastTold is how the files of a CA were left, by the log; nil, if it does not tell. The
// last such line is near the end, as a rule, and a log of a hundred thousand
// certificates has 30 MB: no other line is looked into.
func (f Folder) lastTold(ca *x509.Certificate) (*caFiles, error) {
	file, err := os.Open(f.at(logFile))
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
		if last := lastToldIn(piece[:n], ca); last != nil {
			return last, nil
		}
	}
	return nil, nil
}

// lastToldIn looks into a piece of the log.
func lastToldIn(piece []byte, ca *x509.Certificate) *caFiles {
	var last *caFiles
	var at int // of that line
	for _, action := range []string{signAction, keepAction, lostAction} {
		for from := 0; ; {
			i := bytes.Index(piece[from:], []byte(action))
			if i < 0 {
				break
			}
			begins := bytes.LastIndexByte(piece[:from+i], '\n') + 1
			text, _, _ := bytes.Cut(piece[begins:], []byte{'\n'})
			from = begins + len(text)
			var line logLine
			if json.Unmarshal(text, &line) != nil {
				continue // cut off by a crash, or by the beginning of the piece
			}
			if files := line.files(ca); files != nil && begins >= at {
				last, at = files, begins
			}
		}
	}
	return last
}

// differing says how the files that the log tells of differ from those in a place.
func differing(told, there caFiles, place string) string {
	switch number := told.number; {
	case told.list != "" && told.list == there.list:
		return fmt.Sprintf("another revoked.tsv beside CRL number %s than %s", number, place)
	case number.Cmp(there.number) == 0:
		return fmt.Sprintf("another CRL of number %s than %s", number, place)
	default:
		return fmt.Sprintf("CRL number %s, and %s has %s", number, place, there.number)
	}
}
