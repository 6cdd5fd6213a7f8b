// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import "io"

func runCheckImage(args []string, out, errors io.Writer) int { return exitUsage }
