// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLostLogIsTold: a log that somebody removed is begun anew, and says so in its
// first line; one that was there from the beginning does not.
func TestLostLogIsTold(t *testing.T) {
	folder := newFolder(t)
	path := filepath.Join(folder.Path(), "log.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil || bytes.Contains(whole, []byte("log-lost")) {
		t.Errorf("%s, %v", whole, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := folder.Log(now, Entry{Action: "publish"}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if lines := bytes.Split(raw, []byte("\n")); err != nil || len(lines) != 4 || !bytes.Contains(lines[0], []byte(`"action":"log-lost"`)) || bytes.Count(raw, []byte("log-lost")) != 1 {
		t.Errorf("%s, %v", raw, err)
	}
}

// TestNumberInALongLog: the line that tells of the last list may be anywhere, also where
// two pieces meet that are read.
func TestNumberInALongLog(t *testing.T) {
	folder := newFolder(t)
	if files, err := folder.lastTold(folder.CA()); err != nil || files == nil || files.number.Int64() != 1 {
		t.Errorf("of the first: %v, %v", files, err)
	}
	if _, err := folder.SignCRL(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	other := *folder.CA()
	other.Raw = []byte("of the same name")
	if err := folder.Log(now, signedEntry(&other, caFiles{number: big.NewInt(77)}), Entry{Action: "change", Name: "ann", Detail: "note sign-crl number 99"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder.Path(), "log.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	filler := []byte(`{"action":"issue","name":"` + strings.Repeat("a", 70) + "\"}\n")
	fill := func(n int) []byte { return bytes.Repeat(filler, n/len(filler)) }
	for _, after := range []int{0, logPiece - 700, logPiece - 400, logPiece - 100, logPiece, logPiece + 100, 3*logPiece + 17} {
		if err := os.WriteFile(path, slices.Concat(fill(logPiece), text, fill(after)), 0o600); err != nil {
			t.Fatal(err)
		}
		if files, err := folder.lastTold(folder.CA()); err != nil || files == nil || files.number.Int64() != 2 {
			t.Errorf("with %d bytes after it: %v, %v", after, files, err)
		}
	}
}
