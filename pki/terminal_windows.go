// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import "golang.org/x/term"

// hideTyping leaves it to readLine, which hides and shows by itself.
func hideTyping(int) (show func() error, err error) { return func() error { return nil }, nil }

func readLine(descriptor int) ([]byte, error) { return term.ReadPassword(descriptor) }
