// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// image is the root folder of an image. Its methods return paths as they are
// on the machine that boots from it.
type image string

func (i image) matches(patterns ...string) ([]string, error) {
	var found []string
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(string(i), pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			found = append(found, i.inside(path))
		}
	}
	return found, nil
}

func (i image) inside(path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, filepath.Clean(string(i))), "/")
}

// read returns nothing for a file that is not there. It follows no link: in
// another root it would lead astray.
func (i image) read(path string) ([]byte, error) {
	full := filepath.Join(string(i), path)
	info, err := os.Lstat(full)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(full)
}

const (
	// maxKeyFile: private keys take a few kilobytes; what is larger is data.
	maxKeyFile = 1 << 20
	keyMark    = "-----BEGIN "
)

// skipped tells of the folders that are no part of an image: the kernel's, what
// lives in memory only, and the sample keys that every copy of OpenVPN's
// documentation has.
func skipped(folder string) bool {
	return slices.Contains([]string{"proc", "sys", "dev", "run", "usr/share/doc"}, folder)
}

func (i image) privateKeys() ([]string, error) {
	// A key is the mark and then a line of its text; programs that read keys
	// have the mark alone.
	keyText := regexp.MustCompile(`(?m)^-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY|OpenVPN Static key V1|OpenVPN tls-crypt-v2 (?:server|client) key)-----\r?\n(?:[A-Za-z-]+: [^\n]*\n|\r?\n)*[A-Za-z0-9+/=]{16}`)
	var found []string
	err := i.walk(func(inside string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() || info.Size() > maxKeyFile || info.Size() < int64(len(keyMark)) {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(string(i), inside))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone in between, on a running machine
		}
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte(keyMark)) && keyText.Match(data) {
			found = append(found, "/"+inside)
		}
		return nil
	})
	return found, err
}

func (i image) machineID() ([]string, error) {
	var found []string
	for _, path := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		data, err := i.read(path)
		if err != nil {
			return nil, err
		}
		// "uninitialized" makes systemd treat the next boot as the first.
		if id := strings.TrimSpace(string(data)); id != "" && id != "uninitialized" {
			found = append(found, "/"+path)
		}
	}
	return found, nil
}

// passwords finds accounts that a password, or none, lets in.
func (i image) passwords() ([]string, error) {
	var found []string
	for _, path := range []string{"etc/shadow", "etc/shadow-", "etc/passwd"} {
		data, err := i.read(path)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Split(strings.TrimSpace(line), ":")
			if len(fields) < 2 {
				continue
			}
			// "x" in passwd means: see shadow.
			field := fields[1]
			locked := strings.HasPrefix(field, "!") || strings.HasPrefix(field, "*") || field == "x" && path == "etc/passwd"
			if !locked {
				found = append(found, fmt.Sprintf("/%s (account %q)", path, fields[0]))
			}
		}
	}
	return found, nil
}

// roots finds accounts beside root that are root.
func (i image) roots() ([]string, error) {
	data, err := i.read("etc/passwd")
	var found []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == "0" && fields[0] != "root" {
			found = append(found, fmt.Sprintf("/etc/passwd (account %q)", fields[0]))
		}
	}
	return found, err
}

func (i image) authorizedKeys() ([]string, error) {
	paths, err := i.matches("root/.ssh/authorized_keys*", "home/*/.ssh/authorized_keys*", "etc/ssh/authorized_keys*")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, path := range paths {
		data, err := i.read(path)
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(data)) > 0 {
			found = append(found, path)
		}
	}
	return found, nil
}
