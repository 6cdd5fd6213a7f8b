// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import "golang.org/x/sys/unix"

// mayMakeFilesIn asks the system whether this person may, without trying.
func mayMakeFilesIn(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) }
