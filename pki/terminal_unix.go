// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// typing is whether a terminal shows what is typed.
type typing struct {
	descriptor     int
	before, hidden unix.Termios
}

func typingAt(descriptor int) (typing, error) {
	before, err := unix.IoctlGetTermios(descriptor, getTerminal)
	if err != nil {
		return typing{}, err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	return typing{descriptor, *before, hidden}, nil
}

func (t typing) hide() error { return unix.IoctlSetTermios(t.descriptor, setTerminal, &t.hidden) }
func (t typing) show() error { return unix.IoctlSetTermios(t.descriptor, setTerminal, &t.before) }

// interrupts are the signals that end the wait for what is typed.
func interrupts() []os.Signal {
	return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}
}

// goesOn are the signals by which a program that was stopped (Ctrl-Z) goes on.
func goesOn() []os.Signal { return []os.Signal{unix.SIGCONT} }

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
