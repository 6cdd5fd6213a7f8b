// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"io/fs"
	"os"
	"strings"
)

// mayMakeFilesIn only tells whether the folder is there: what may be done in it
// Windows tells whoever tries.
func mayMakeFilesIn(folder string) error {
	_, err := os.Stat(folder)
	return err
}

// openToOthers is not told by a mode here.
func openToOthers(fs.FileMode) bool { return false }

// shellWord is a word of a command line: no path has a quote in it here.
func shellWord(s string) string {
	if strings.ContainsAny(s, " &()[]{}^=;!'+,`~") {
		return `"` + s + `"`
	}
	return s
}
