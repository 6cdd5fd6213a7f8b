// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package authority

// nameNew gives a file another name, which must not be there; if it is, the error is
// [fs.ErrExist].
func nameNew(from, to string) error { return nameByLink(from, to) }
