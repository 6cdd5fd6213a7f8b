// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package osrelease reads /etc/os-release, the host's own or that of a guest. It
// runs in the plugin.
package osrelease

import "strings"

// Parse reads the format of os-release(5): NAME=value, the value in the shell's
// quotes if need be.
func Parse(data string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(data) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		values[name] = value
	}
	return values
}
