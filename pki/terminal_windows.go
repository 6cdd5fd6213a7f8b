// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"syscall"

	"golang.org/x/term"
)

// typing leaves it to readLine, which hides and shows by itself.
type typing struct{}

func typingAt(int) (typing, error) { return typing{}, nil }
func (typing) hide() error         { return nil }
func (typing) show() error         { return nil }

func interrupts() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// goesOn are none: no program is stopped at a terminal here.
func goesOn() []os.Signal { return nil }

func readLine(descriptor int) ([]byte, error) { return term.ReadPassword(descriptor) }
