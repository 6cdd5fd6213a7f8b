// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"os"
	"path/filepath"
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
