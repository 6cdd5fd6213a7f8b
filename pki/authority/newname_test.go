// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestNewNameReplacesNothing is of both ways: the second is for file systems that do
// not know the first.
func TestNewNameReplacesNothing(t *testing.T) {
	for way, name := range map[string]func(from, to string) error{"rename": nameNew, "link": nameByLink} {
		folder := t.TempDir()
		from, to := filepath.Join(folder, "from"), filepath.Join(folder, "to")
		write := func(path, text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(from, "new")
		if err := name(from, to); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if text, err := os.ReadFile(to); err != nil || string(text) != "new" {
			t.Errorf("%s: %q, %v", way, text, err)
		}
		if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the temporary name is there: %v", way, err)
		}
		write(from, "another")
		if err := name(from, to); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: a name that is taken: %v", way, err)
		}
		if text, err := os.ReadFile(to); err != nil || string(text) != "new" {
			t.Errorf("%s: it is replaced: %q, %v", way, text, err)
		}
		if text, err := os.ReadFile(from); err != nil || string(text) != "another" {
			t.Errorf("%s: what was not named is gone: %q, %v", way, text, err)
		}
	}
}
