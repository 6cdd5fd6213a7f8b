// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package authority

// isMountPoint is for Linux alone to tell; elsewhere the folder cannot be put in
// place, and nothing is left of it.
func isMountPoint(string) bool { return false }
