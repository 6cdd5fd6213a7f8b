// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build noaws

package roster

import "errors"

// The YAML library spends a twentieth of what issuing takes on its tables at
// each start, whatever is read. So only the program with all verbs has it.
func parseYAML([]byte) ([]Entry, error) {
	return nil, errors.New("it is YAML, which the program with all verbs reads")
}
