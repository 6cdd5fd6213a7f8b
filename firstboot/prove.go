// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// proveWithin: a handshake on the machine itself takes some 40 ms, and
	// OpenVPN repeats a lost packet after 2 s.
	proveWithin = 10 * time.Second
	// farewell is how long a client may take to say goodbye to the server
	// before it is killed.
	farewell = 2 * time.Second

	connected = "Initialization Sequence Completed"
	// maxLog bounds what is kept of the client's log; a connect writes 5 KiB.
	maxLog = 256 << 10
)

// prove lets a real OpenVPN client connect to the daemon, as the probe of the
// secret. That the unit is active says that a process runs; this says that
// somebody with a certificate gets in.
func prove(ctx context.Context, program, folder string, as account) error {
	ctx, cancel := context.WithTimeout(ctx, proveWithin)
	defer cancel()
	log, err := runProbe(ctx, program, filepath.Join(folder, probeConfig), as)
	if err != nil {
		return refusing(fmt.Errorf("connecting to the daemon as a client: %w%s", err, inParentheses(tellingLine(log))),
			"look at \"journalctl -u %s\"; the daemon does not stay up unproven", openvpnUnit)
	}
	return nil
}

// runProbe runs the client until it is connected, and lets it leave.
func runProbe(ctx context.Context, program, config string, as account) (string, error) {
	// Killing is the last resort; whoever is asked to leave tells the server.
	command := exec.Command(program, "--config", config) //nolint:gosec,noctx // fixed program; the context is minded below
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if syscall.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)} //nolint:gosec // from the passwd file
	}
	watch := &watcher{seen: make(chan struct{})}
	command.Stdout, command.Stderr = watch, watch
	command.WaitDelay = farewell
	if err := command.Start(); err != nil {
		return "", fmt.Errorf("starting %q: %w", program, err)
	}
	gone := make(chan error, 1)
	go func() { gone <- command.Wait() }()

	var result error
	select {
	case err := <-gone:
		return watch.text(gone), fmt.Errorf("the client gave up: %w", exitWords(err))
	case <-ctx.Done():
		result = fmt.Errorf("it is not connected after %s", proveWithin)
	case <-watch.seen:
	}
	_ = command.Process.Signal(syscall.SIGTERM)
	select {
	case <-gone:
	case <-time.After(farewell):
		_ = command.Process.Kill()
		<-gone
	}
	return watch.text(gone), result
}

// exitWords: OpenVPN exits with 0 when it was refused, too.
func exitWords(err error) error {
	if err == nil {
		return errors.New("it exited before it was connected")
	}
	return err
}

// watcher keeps a log and tells when the connection stands. The os/exec
// package writes to it from one goroutine, which has ended when Wait returns.
type watcher struct {
	log  bytes.Buffer
	seen chan struct{}
	done bool
}

func (w *watcher) Write(data []byte) (int, error) {
	if w.log.Len() < maxLog {
		w.log.Write(data)
	}
	if !w.done && strings.Contains(w.log.String(), connected) {
		w.done = true
		close(w.seen)
	}
	return len(data), nil
}

// text may be called once the process is gone, which the channel stands for.
func (w *watcher) text(<-chan error) string { return w.log.String() }
