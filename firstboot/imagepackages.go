// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"crypto/md5" //nolint:gosec // dpkg's lists have no other sums
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What dpkg knows of the files of its packages. It finds what has been left or
// changed; whoever was root may have changed dpkg's lists as well, and the SBOM
// beside the image is for that.

// foreign returns those of some files that no package has, or has otherwise.
func (i image) foreign(files []imageFile) ([]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	sums, err := i.packageSums(files)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		has := sums[f.path]
		if len(has) == 0 {
			found = append(found, "/"+f.path+" (is no package's)")
			continue
		}
		data, err := os.ReadFile(filepath.Join(i.root, f.path))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(has, sumOf(data)) {
			found = append(found, "/"+f.path+" (is not as its package has it)")
		}
	}
	return found, nil
}

// packageSums returns the sums that packages have of some files. More than one may
// have one: the list of a package is not changed when another takes a file over.
func (i image) packageSums(files []imageFile) (map[string][]string, error) {
	wanted := map[string]bool{}
	for _, f := range files {
		wanted[f.path] = true
	}
	lists, err := i.matches("var/lib/dpkg/info/*.md5sums")
	if err != nil {
		return nil, err
	}
	sums := map[string][]string{}
	for _, list := range lists {
		data, err := i.read(list)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			sum, path, _ := strings.Cut(string(bytes.TrimSuffix(line, []byte("\n"))), "  ")
			if !wanted[path] {
				path = "usr/" + path // /bin, /sbin and /lib are links; Debian 12 has packages from before
			}
			if wanted[path] {
				sums[path] = append(sums[path], sum)
			}
		}
	}
	return sums, nil
}

// configured tells whether a file of the configuration is a package's, unchanged.
func (i image) configured(path string) (bool, error) {
	data, err := i.read(path)
	if err != nil {
		return false, err
	}
	status, err := i.read("var/lib/dpkg/status")
	return bytes.Contains(status, []byte("\n "+path+" "+sumOf(data)+"\n")), err
}

func sumOf(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // dpkg's lists have no other sums
	return hex.EncodeToString(sum[:])
}
