// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// mayMakeFilesIn asks the system whether this person may, without trying.
func mayMakeFilesIn(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) }

// openToOthers tells whether others than the owner may do something with a file.
func openToOthers(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// shellWord is a word of a command line that can be given to a shell as it is; one with
// what turns or hides text is spelt as bash and zsh read it.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	if spelt := fmt.Sprintf("%+q", s); !isPrintable(s) {
		return "$'" + strings.ReplaceAll(spelt[1:len(spelt)-1], "'", `\'`) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
