// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"strconv"
	"strings"
)

// versionOf are the three numbers that compat-mode reads; what is behind them does not
// count.
func versionOf(text string) (version [3]int, is bool) {
	parts := strings.SplitN(text, ".", len(version))
	if len(parts) != len(version) {
		return version, false
	}
	for i, part := range parts {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		if i < len(version)-1 && digits != part {
			return version, false
		}
		n, err := strconv.Atoi(digits)
		if err != nil {
			return version, false
		}
		version[i] = n
	}
	return version, true
}

func isVersion(text string) bool {
	_, is := versionOf(text)
	return is
}

func versionBefore(text string, major, minor int) bool {
	v, _ := versionOf(text)
	return v[0] < major || v[0] == major && v[1] < minor
}
