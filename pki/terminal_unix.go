// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// hideTyping has the terminal not show what is typed, until show is called.
func hideTyping(descriptor int) (show func() error, err error) {
	before, err := unix.IoctlGetTermios(descriptor, getTerminal)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	return func() error { return unix.IoctlSetTermios(descriptor, setTerminal, before) },
		unix.IoctlSetTermios(descriptor, setTerminal, &hidden)
}

// readLine reads a line; where the input ends before it does, the error is
// [io.EOF]. term.ReadPassword takes the end for nothing and reads on: Ctrl-D is
// as if it were not typed, and a terminal that is gone is read for ever.
func readLine(descriptor int) ([]byte, error) {
	var line []byte
	for one := make([]byte, 1); len(line) <= longest; {
		n, err := unix.Read(descriptor, one)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return nil, io.EOF
		case one[0] == '\n':
			return line, nil
		default:
			line = append(line, one[0])
		}
	}
	return nil, errors.New("the line has no end")
}
