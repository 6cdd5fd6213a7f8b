// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import "os"

// nameByLink gives a file another name, which must not be there: a link, unlike a
// rename, never replaces.
func nameByLink(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
