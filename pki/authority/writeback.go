// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package authority

import "os"

// startWriting is a courtesy that Linux alone offers.
func startWriting(*os.File) {}
