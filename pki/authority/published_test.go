// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestGenerationsAreKept(t *testing.T) {
	folder := newFolder(t)
	a, b, abroad := Place{"eu-central-1", "vpn/a"}, Place{"eu-central-1", "vpn/b"}, Place{"us-east-1", "vpn/a"}
	for _, c := range []struct {
		place      Place
		generation uint64
	}{{a, 1}, {b, 5}, {a, 2}, {abroad, 1}} {
		if err := folder.RecordPublish(now, c.place, c.generation, "content"); err != nil {
			t.Fatal(err)
		}
	}
	published, err := folder.Published()
	if err != nil || published[a].Generation != 2 || published[b].Generation != 5 || published[abroad].Generation != 1 {
		t.Errorf("%v, %v", published, err)
	}
	raw, err := os.ReadFile(filepath.Join(folder.Path(), "log.jsonl"))
	if err != nil || bytes.Count(raw, []byte("\"publish\"")) != 4 {
		t.Errorf("%s, %v", raw, err)
	}
}

// TestGenerationNeverFalls has a publish that changes only tags, after one that
// broke off before anything was put.
func TestGenerationNeverFalls(t *testing.T) {
	folder := newFolder(t)
	for _, generation := range []uint64{7, 5} {
		if err := folder.RecordPublish(now, Place{"eu-central-1", "vpn/office"}, generation, fmt.Sprint(generation)); err != nil {
			t.Fatal(err)
		}
	}
	published, err := folder.Published()
	if err != nil {
		t.Fatal(err)
	}
	if last := published[Place{"eu-central-1", "vpn/office"}]; last.Generation != 7 || fmt.Sprint(last.Contents) != "[7 5]" {
		t.Errorf("after generations 7 and 5: %+v", last)
	}
}

// TestPublishedIsReplaced: a kill leaves what was published before, or what is now, and
// nothing by half.
func TestPublishedIsReplaced(t *testing.T) {
	folder := newFolder(t)
	place := Place{"eu-central-1", "vpn/office"}
	record := func(generation uint64) []byte {
		t.Helper()
		if err := folder.RecordPublish(now, place, generation, "content"); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(folder.at("published.json"))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	before := record(1)
	kept := filepath.Join(t.TempDir(), "kept") // the same file, by another name
	if err := os.Link(folder.at("published.json"), kept); err != nil {
		t.Fatal(err)
	}
	after := record(2)
	if raw, err := os.ReadFile(kept); err != nil || !bytes.Equal(raw, before) || bytes.Equal(before, after) {
		t.Errorf("the file is written over: %s, %v", raw, err)
	}
}

// TestPublishedBefore: a folder from when only the last content was kept goes on.
func TestPublishedBefore(t *testing.T) {
	folder := newFolder(t)
	if err := os.WriteFile(folder.at("published.json"), []byte(`{"eu-central-1:vpn/office":{"generation":3,"content":"abc","time":"2026-11-23T12:00:00Z"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	place := Place{"eu-central-1", "vpn/office"}
	if err := folder.RecordPublish(now, place, 4, "def"); err != nil {
		t.Fatal(err)
	}
	published, err := folder.Published()
	if last := published[place]; err != nil || last.Generation != 4 || fmt.Sprint(last.Contents) != "[abc def]" || last.Content != "" {
		t.Errorf("%+v, %v", last, err)
	}
}
