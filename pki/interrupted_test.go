// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestInterruptedPrompt presses Ctrl-C where a passphrase is asked for: the
// command ends, nothing is made, and the terminal shows again what is typed.
func TestInterruptedPrompt(t *testing.T) {
	folder := t.TempDir()
	keyboard, terminal := newTerminal(t)
	cmd := startPrompt(t, folder, terminal)
	const ctrlC = "\x03"
	if _, err := io.WriteString(keyboard, "half a pass"+ctrlC); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if code := cmd.ProcessState.ExitCode(); code != exitFailed {
			t.Errorf("it ends with %d, %v", code, err)
		}
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatal("Ctrl-C does not end it")
	}
	if !shows(t, terminal) {
		t.Error("the terminal does not show what is typed any more")
	}
	if _, err := os.Stat(filepath.Join(folder, "office")); !os.IsNotExist(err) {
		t.Errorf("there is an authority: %v", err)
	}
	if err := terminal.Close(); err != nil { // the last one: reading ends
		t.Error(err)
	}
	printed, _ := io.ReadAll(keyboard)
	if !bytes.Contains(printed, []byte("reading the passphrase: interrupted")) {
		t.Errorf("it said %q", printed)
	}
}

// TestStoppedPrompt stops the program where it asks for a passphrase, as Ctrl-Z
// does, and has it go on with a terminal that shows everything, as a shell leaves
// it: what is typed then is not to be shown.
func TestStoppedPrompt(t *testing.T) {
	_, terminal := newTerminal(t)
	cmd := startPrompt(t, t.TempDir(), terminal)
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	state.Lflag |= unix.ECHO
	if err := unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETS, state); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitHidden(t, terminal)
	// So does a program that is told to quit end, rather than with the terminal
	// hidden and what is in its memory told.
	if err := cmd.Process.Signal(unix.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("it ends with %d", code)
	}
	if !shows(t, terminal) {
		t.Error("the terminal does not show what is typed any more")
	}
}

// startPrompt starts a program that asks for a passphrase, and waits until it
// does.
func startPrompt(t *testing.T, folder string, terminal *os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vpnami-pki", "init", "office")
	cmd.Dir = folder
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "VPNAMI_PASSPHRASE") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitHidden(t, terminal)
	return cmd
}

func waitHidden(t *testing.T, terminal *os.File) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); shows(t, terminal); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the terminal does not hide what is typed")
		}
	}
}

// newTerminal makes a pseudo-terminal: what is written to the first is typed at
// the second.
func newTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return keyboard, terminal
}

func shows(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}
