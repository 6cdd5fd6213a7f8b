// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !bench

package main

import "os"

func main() { os.Exit(run(openKMS, becomeKeeper)) }
