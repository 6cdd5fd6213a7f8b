// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("VPNAMI_REQUIRE") == "1" {
		t.Fatal("a file system needs root, and VPNAMI_REQUIRE=1 forbids to skip")
	}
	t.Skip("SKIPPED: a file system needs root")
}

// TestFullDisk needs root for a file system of its own.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	script, err := filepath.Abs(filepath.Join("testdata", "full-disk.sh"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", script, t.TempDir())
	cmd.Env = append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDiskFullAtEveryWrite has each command that changes an authority run out of room at
// its first page, at its second, and so on. It changes nothing then but the log, which
// tells of every certificate that is there, and given again with room it is done.
func TestDiskFullAtEveryWrite(t *testing.T) {
	needRoot(t)
	t.Parallel()
	start, rolling := twoOffices(t)
	empty := t.TempDir()
	old := filepath.Join(t.TempDir(), "old")
	makeOldPKI(t, filepath.Join(old, "pki"))
	script, err := filepath.Abs(filepath.Join("testdata", "pages-free.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from, args string
	}{
		{"init", empty, "init office"},
		{"import-easyrsa", old, "import-easyrsa pki --folder office --name office"},
		{"issue", start, "issue client3 client4 --folder office"},
		{"issue folders", start, "issue client3 --folder office --format tblk"},
		{"renew", start, "renew client1 --folder office --out renewed"},
		{"revoke", rolling, "revoke client1 --folder office"},
		{"revoke foreign", start, "revoke --serial 77 --foreign --folder office"},
		{"crl", start, "crl --folder office"},
		{"roster", start, "roster set client1 --ip auto --folder office"},
		{"renew-server", start, "renew-server --folder office"},
		{"rollover start", start, "rollover start --folder office"},
		{"rollover end", rolling, "rollover end --folder office"},
		{"migration", start, "migration open --cut --folder office"},
		{"renew-server, by lines", nearlyFull(t, start), "renew-server --folder office"},
		{"rollover end, by lines", nearlyFull(t, rolling), "rollover end --folder office"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			results := t.TempDir()
			cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", script, c.from, t.TempDir(), results}, strings.Fields(c.args)...)...)
			cmd.Env = append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			before := filesIn(t, c.from)
			for pages := 0; ; pages++ {
				at, where := filepath.Join(results, fmt.Sprint(pages)), fmt.Sprintf("%d pages free", pages)
				checkWhole(t, filepath.Join(at, "after"), where)
				if !isThere(filepath.Join(at, "failed")) {
					if pages == 0 {
						t.Error("it was done with no room")
					}
					break
				}
				said, err := os.ReadFile(filepath.Join(at, "said"))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Contains(said, []byte("no space left on device")) || bytes.Contains(said, []byte("warning: cut off")) {
					t.Errorf("%s: it says %s", where, said)
				}
				if diff := cmp.Diff(before, filesIn(t, filepath.Join(at, "after"))); diff != "" {
					t.Errorf("%s: it changed\n%s\n%s", where, diff, said)
				}
				checkTakenBack(t, c.from, filepath.Join(at, "after"), where)
				if again, _ := os.ReadFile(filepath.Join(at, "said-again")); isThere(filepath.Join(at, "failed-again")) {
					t.Errorf("%s, and then given again with room: %s", where, again)
				}
				checkWhole(t, filepath.Join(at, "again"), where+", and then given again with room")
			}
		})
	}
}

// nearlyFull is a copy of an authority in which the last page of the log has room for one
// line, and for a part of the next.
func nearlyFull(t *testing.T, from string) string {
	t.Helper()
	folder := copyFolder(t, from)
	path := filepath.Join(folder, "office", "log.jsonl")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page, room, empty = 4096, 450, `{"action":"change","name":"client1","detail":""}` + "\n"
	fill := (2*page - room - len(empty) - len(raw)%page) % page
	line := fmt.Sprintf(`{"action":"change","name":"client1","detail":%q}`, strings.Repeat("x", fill)) + "\n"
	if err := os.WriteFile(path, append(raw, line...), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// filesIn are hashes of what is in the files of a folder, by path; of its folders, the
// paths. The log and the locks are left out, and a folder for profiles that has none.
func filesIn(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			found[path] = ""
			return err
		}
		raw, err := os.ReadFile(filepath.Join(folder, path))
		found[path] = fmt.Sprintf("%x", sha256.Sum256(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(found, func(path, hash string) bool {
		return path == "office/log.jsonl" || path == "office/lock" || path == "office/publish.lock" || path == "renewed" && hash == ""
	})
	return found
}

// checkTakenBack wants beside each new line of the log that tells of what is in force
// another, that it is not. There may be one of a line that could not be written.
func checkTakenBack(t *testing.T, before, after, where string) {
	t.Helper()
	read := func(folder string) []byte {
		raw, err := os.ReadFile(filepath.Join(folder, "office", "log.jsonl"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return raw
	}
	added := bytes.TrimPrefix(read(after), read(before))
	for _, action := range []string{"revoke", "revoke-foreign", "issue-server", "issue-probe", "rollover-start", "rollover-end", "migration-open", "change", "publish"} {
		count := func(action string) int { return bytes.Count(added, fmt.Appendf(nil, `"action":%q`, action)) }
		if done, failed := count(action), count(action+"-failed"); done > failed {
			t.Errorf("%s: of %d %q in the log %d failed:\n%s", where, done, action, failed, added)
		}
	}
}
