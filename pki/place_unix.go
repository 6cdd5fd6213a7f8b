// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import (
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// mayMakeFilesIn asks the system whether this person may, without trying.
func mayMakeFilesIn(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) }

// openToOthers tells whether others than the owner may do something with a file.
func openToOthers(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// shellWord is a word of a command line that can be given to a shell as it is.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
