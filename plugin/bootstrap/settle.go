// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settle takes out of a complete root file system what tells when it was baked,
// so that the same packages give the same bytes.
func settle(root string, epoch time.Time) error {
	if err := settleShadow(root, epoch); err != nil {
		return err
	}
	return settleTimes(root, epoch)
}

// settleTimes makes no file newer than epoch. What is older keeps its time: it
// is the package's own, and Python compares it with that of its compiled files.
func settleTimes(root string, epoch time.Time) error {
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		changed := unix.NsecToTimespec(min(info.ModTime().Unix(), epoch.Unix()) * int64(time.Second))
		// The time of the last access too: it would tell who read it when.
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{changed, changed}, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return fmt.Errorf("setting the times of the image's files: %w", err)
	}
	return nil
}

// settleShadow gives the days on which passwords were last changed, which are
// those on which the bake's packages made the accounts, the image's own time.
func settleShadow(root string, epoch time.Time) error {
	in, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the root file system: %w", err)
	}
	defer in.Close()
	for _, name := range []string{"etc/shadow", "etc/shadow-"} {
		data, err := in.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading /%s of the image: %w", name, err)
		}
		// In place: it keeps its mode and its group.
		if err := in.WriteFile(name, []byte(shadowOf(string(data), epoch)), 0o600); err != nil {
			return fmt.Errorf("writing /%s of the image: %w", name, err)
		}
	}
	return nil
}

// shadowOf is shadow(5) with no day after epoch in its third field.
func shadowOf(shadow string, epoch time.Time) string {
	last := epoch.Unix() / int64((24 * time.Hour).Seconds())
	var out strings.Builder
	for line := range strings.Lines(shadow) {
		fields := strings.Split(line, ":")
		if len(fields) > 2 {
			if day, err := strconv.ParseInt(fields[2], 10, 64); err == nil && day > last {
				fields[2] = strconv.FormatInt(last, 10)
			}
		}
		out.WriteString(strings.Join(fields, ":"))
	}
	return out.String()
}
