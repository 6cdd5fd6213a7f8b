// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// archive is a suite of packages as the bake found it. Two bakes that saw the
// same archives make the same image.
type archive struct {
	// Name is apt's own for it: the address, with "_" for each "/".
	Name string `json:"name"`
	// Date is when the archive's owner signed it.
	Date time.Time `json:"date"`
	// SHA256 is of the signed file, which has the hashes of all its packages.
	SHA256 string `json:"sha256"`
}

// aptLists is where apt keeps what archives say of themselves.
const aptLists = "var/lib/apt/lists"

// archivesOf reads which archives the image's packages came from, in the order of
// their names.
func archivesOf(root string) ([]archive, error) {
	in, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("opening the root file system: %w", err)
	}
	defer in.Close()
	entries, err := fs.ReadDir(in.FS(), aptLists)
	if err != nil {
		return nil, fmt.Errorf("reading what the archives say of themselves: %w", err)
	}
	var found []archive
	for _, e := range entries {
		name, signed := strings.CutSuffix(e.Name(), "_InRelease")
		if !signed {
			// An archive may have its signature in a file of its own.
			if name, signed = strings.CutSuffix(e.Name(), "_Release"); !signed {
				continue
			}
		}
		data, err := in.ReadFile(path.Join(aptLists, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading what an archive says of itself: %w", err)
		}
		date, err := releaseDate(string(data))
		if err != nil {
			return nil, fmt.Errorf("reading when archive %q was signed: %w", name, err)
		}
		sum := sha256.Sum256(data)
		found = append(found, archive{Name: name, Date: date, SHA256: hex.EncodeToString(sum[:])})
	}
	if found == nil {
		return nil, fmt.Errorf("reading what the archives say of themselves: no InRelease in /%s of the image", aptLists)
	}
	return found, nil
}

// releaseDate finds the field Date of a Release file, which is in UTC by rule:
// https://wiki.debian.org/DebianRepository/Format#Date.2C_Valid-Until
func releaseDate(release string) (time.Time, error) {
	for line := range strings.Lines(release) {
		value, ok := strings.CutPrefix(line, "Date:")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST"} {
			if t, err := time.Parse(layout, value); err == nil {
				if t.Unix() < 1 {
					return time.Time{}, fmt.Errorf("it says %q, which is before there were archives", value)
				}
				return t.UTC(), nil
			}
		}
		return time.Time{}, fmt.Errorf("it says %q, which is no date of an archive", value)
	}
	return time.Time{}, errors.New("it has no field Date")
}

// epochOf is the time of the image: when the newest of its archives was signed.
// Nothing in the image is newer, however late it is baked.
func epochOf(archives []archive) time.Time {
	var newest time.Time
	for _, a := range archives {
		if a.Date.After(newest) {
			newest = a.Date
		}
	}
	return newest
}
