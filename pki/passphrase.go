// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"unicode/utf8"

	"golang.org/x/term"
)

// shortest is what NIST SP 800-63B asks at least of a password that a person
// chooses.
const shortest = 8

// longest is far beyond what anybody types, and an end to what has none.
const longest = 64 << 10

// newPassphrase asks for the passphrase of a CA that is being made.
func (d *desk) newPassphrase() ([]byte, error) {
	passphrase, given, err := d.givenPassphrase()
	if err != nil {
		return nil, err
	}
	if !given {
		if passphrase, err = d.prompt("Passphrase for the CA's key: "); err != nil {
			return nil, err
		}
		again, err := d.prompt("The same again: ")
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(passphrase, again) {
			return nil, errors.New("reading the passphrase: the two differ")
		}
	}
	return passphrase, checkLength("the passphrase", passphrase)
}

func checkLength(what string, word []byte) error {
	if n := utf8.RuneCount(word); n < shortest {
		return fmt.Errorf("choosing %s: it has %s, it must have %d or more", what, plural(n, "character", "characters"), shortest)
	}
	return nil
}

// passphrase asks for the passphrase of a CA that is there.
func (d *desk) passphrase() ([]byte, error) {
	passphrase, given, err := d.givenPassphrase()
	if err != nil || given {
		return passphrase, err
	}
	return d.prompt("Passphrase of the CA's key: ")
}

func (d *desk) givenPassphrase() (passphrase []byte, given bool, err error) {
	path := d.passphraseFile
	if path == "" {
		path, _ = d.env("VPNAMI_PASSPHRASE_FILE")
	}
	if path != "" {
		passphrase, err = d.passphraseOf(path)
		return passphrase, true, err
	}
	if value, ok := d.env("VPNAMI_PASSPHRASE"); ok {
		if value == "" {
			return nil, false, errors.New("reading the passphrase: VPNAMI_PASSPHRASE is set and empty")
		}
		return []byte(value), true, nil
	}
	return nil, false, nil
}

// p12Password asks for the password of .p12 files.
func (d *desk) p12Password(path string) (string, error) {
	password, err := d.givenP12Password(path)
	if err == nil {
		err = checkLength("the password of the .p12", []byte(password))
	}
	return password, err
}

func (d *desk) givenP12Password(path string) (string, error) {
	if path != "" {
		password, err := d.passphraseOf(path)
		return string(password), err
	}
	if value, ok := d.env("VPNAMI_P12_PASSWORD"); ok {
		if value == "" {
			return "", errors.New("reading the password of the .p12: VPNAMI_P12_PASSWORD is set and empty")
		}
		return value, nil
	}
	if !term.IsTerminal(int(d.in.Fd())) {
		return "", errors.New("reading the password of the .p12: there is no terminal to ask at: use --p12-password-file FILE or VPNAMI_P12_PASSWORD")
	}
	password, err := d.prompt("Password for the .p12: ")
	if err != nil {
		return "", err
	}
	again, err := d.prompt("The same again: ")
	if err == nil && !bytes.Equal(password, again) {
		err = errors.New("reading the password of the .p12: the two differ")
	}
	return string(password), err
}

func (d *desk) passphraseOf(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	if info.Mode().IsRegular() && openToOthers(info.Mode()) {
		d.warn("the passphrase file %q can be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	raw, err := readUpTo(path, longest)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	if mark := markOf(raw); mark != "" {
		return nil, fmt.Errorf("reading the passphrase: the file %q begins with a mark of %s, which an editor put there and which is no part of a passphrase: save it as UTF-8 without one", path, mark)
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("reading the passphrase: the file %q is empty", path)
	}
	if bytes.ContainsAny(line, "\n\x00") {
		return nil, fmt.Errorf("reading the passphrase: the file %q has more than one line", path)
	}
	return line, nil
}

// markOf names the byte order mark at the beginning of a text, if there is one.
func markOf(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return "UTF-8"
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return "UTF-16"
	}
	return ""
}

func (d *desk) prompt(question string) ([]byte, error) {
	descriptor := int(d.in.Fd())
	if !term.IsTerminal(descriptor) {
		return nil, errors.New("reading the passphrase: there is no terminal to ask at: use --passphrase-file FILE, VPNAMI_PASSPHRASE_FILE or VPNAMI_PASSPHRASE")
	}
	passphrase, err := readHidden(descriptor, func() { fmt.Fprint(d.err, question) })
	fmt.Fprintln(d.err)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("reading the passphrase: the terminal's input ended (Ctrl-D) before one was typed")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	if len(passphrase) == 0 {
		return nil, errors.New("reading the passphrase: nothing was typed")
	}
	return passphrase, nil
}

// readHidden asks, and reads a line that the terminal does not show. An interrupt
// ends the wait for it, and the terminal shows again what is typed. A program
// that was stopped (Ctrl-Z) hides it anew and asks again when it goes on: the
// shell has had the terminal show everything meanwhile.
func readHidden(descriptor int, ask func()) ([]byte, error) {
	typing, err := typingAt(descriptor)
	if err != nil {
		return nil, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, append(interrupts(), goesOn()...)...)
	defer signal.Stop(signals)
	type answer struct {
		line []byte
		err  error
	}
	if err := typing.hide(); err != nil {
		return nil, err
	}
	ask()
	answered := make(chan answer, 1)
	go func() {
		line, err := readLine(descriptor)
		answered <- answer{line, err}
	}()
	for {
		select {
		case a := <-answered:
			return a.line, errors.Join(a.err, typing.show())
		case s := <-signals:
			if !slices.Contains(goesOn(), s) {
				return nil, errors.Join(errors.New("interrupted"), typing.show())
			}
			if err := typing.hide(); err != nil {
				return nil, err
			}
			ask()
		}
	}
}
