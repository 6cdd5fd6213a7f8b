// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// image is a root folder and what lies in it, which is walked through once. Its
// methods return paths as they are on the machine that boots from it.
type image struct {
	root  string
	files []imageFile // and folders
}

// imageFile is a file or folder, by its path without the first slash.
type imageFile struct {
	path string
	info fs.FileInfo
}

func (i image) matches(patterns ...string) ([]string, error) {
	var found []string
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(i.root, pattern))
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
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, i.root), "/")
}

// read returns nothing for a file that is not there. It follows no link: in
// another root it would lead astray.
func (i image) read(path string) ([]byte, error) {
	full := filepath.Join(i.root, path)
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
// lives in memory only, and what snaps mount, which nobody can change and snapd
// confines.
func skipped(folder string) bool {
	return slices.Contains([]string{"proc", "sys", "dev", "run", "snap"}, folder)
}

// keyTexts find private keys: the mark and then a line of the text; programs that read
// keys have the mark alone.
type keyTexts struct{ packaged, anywhere *regexp.Regexp }

func newKeyTexts() keyTexts {
	const mark = keyMark + `((?:[A-Z0-9]+ )*PRIVATE KEY|OpenVPN Static key V1|OpenVPN tls-crypt-v2 (?:server|client) key)-----`
	return keyTexts{
		packaged: regexp.MustCompile(`(?m)^` + mark + `\r?\n(?:[A-Za-z-]+: [^\n]*\n|\r?\n)*[A-Za-z0-9+/=]{16}`),
		// In YAML it is set in, in JSON its lines end in "\n", spelt out.
		anywhere: regexp.MustCompile(mark + `(?:\r?\n|(?:\\r)?\\n)[ \t]*(?:[A-Za-z-]+: [^\n]*\n|\r?\n|[ \t]+)*[A-Za-z0-9+/=]{16}`),
	}
}

// of are those for a file; nil: it is not looked at. Documentation has sample keys, which
// are everybody's, and packages' own files have them, set in, in what they say of
// themselves (cloud-init's cc_ssh.py).
func (k keyTexts) of(path string) *regexp.Regexp {
	switch {
	case strings.HasPrefix(path, "usr/share/doc/"):
		return nil
	case strings.HasPrefix(path, "usr/") && !strings.HasPrefix(path, "usr/local/"):
		return k.packaged
	}
	return k.anywhere
}

// privateKeys reads every file that may be one, by all processors at once: that is
// most of what the check takes.
func (i image) privateKeys() ([]string, error) {
	texts := newKeyTexts()
	most := runtime.NumCPU()
	found := make([][]string, most)
	var searches []func() error
	for part := range most {
		searches = append(searches, func() error {
			room := make([]byte, maxKeyFile)
			for n := part; n < len(i.files); n += most {
				has, err := i.files[n].has(texts, i.root, room)
				if err != nil {
					return err
				}
				if has {
					found[part] = append(found[part], "/"+i.files[n].path)
				}
			}
			return nil
		})
	}
	err := together(most, searches...)
	return slices.Concat(found...), err
}

// has tells whether there is text of a key in a file. It is read into room.
func (f imageFile) has(texts keyTexts, root string, room []byte) (bool, error) {
	text := texts.of(f.path)
	if text == nil || !f.info.Mode().IsRegular() || f.info.Size() > maxKeyFile || f.info.Size() < int64(len(keyMark)) {
		return false, nil
	}
	n, err := beginningOf(filepath.Join(root, f.path), room)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // gone in between, on a running machine
	}
	data := room[:n]
	return bytes.Contains(data, []byte(keyMark)) && text.Match(data), err
}

// beginningOf reads the beginning of a file, as far as there is room: to make room for
// each of ten thousand takes longer than to read them.
func beginningOf(path string, room []byte) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	n, err := io.ReadFull(file, room)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // shorter, as most are
	}
	return n, err
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
		fields := strings.Split(line, ":")
		if len(fields) > 2 && strings.Trim(fields[2], "0") == "" && fields[0] != "root" { // "00" is 0
			found = append(found, fmt.Sprintf("/etc/passwd (account %q)", fields[0]))
		}
	}
	return found, err
}

func (i image) authorizedKeys() ([]string, error) {
	patterns := []string{"root/.ssh/authorized_keys*", "home/*/.ssh/authorized_keys*", "etc/ssh/authorized_keys*"}
	accounts, err := i.read("etc/passwd")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(accounts)) {
		fields := strings.Split(line, ":")
		if len(fields) < 7 || strings.HasPrefix(fields[5], "/home/") || fields[5] == "/root" || strings.ContainsAny(fields[5], `*?[\`) {
			continue
		}
		patterns = append(patterns, strings.TrimPrefix(fields[5], "/")+"/.ssh/authorized_keys*")
	}
	paths, err := i.matches(patterns...)
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	var found []string
	for _, path := range paths {
		data, err := i.read(path)
		if err != nil {
			return nil, err
		}
		_, link := os.Readlink(filepath.Join(i.root, path))
		if link == nil || len(bytes.TrimSpace(data)) > 0 { // a link may lead to anywhere
			found = append(found, path)
		}
	}
	return found, nil
}
