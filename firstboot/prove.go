// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
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
	// farewell is how long the client may take to leave before it is killed. It
	// tells the server at once (2.6 and later, over the control channel) and
	// then waits a second for nothing.
	farewell = 200 * time.Millisecond

	connected = "Initialization Sequence Completed"
	// maxLog bounds what is kept of the client's log; a connect writes 5 KiB.
	maxLog = 256 << 10
)

// prober connects to the daemon as a client.
type prober struct {
	program string
	leaving []func()
}

// prove lets a real OpenVPN client connect to the daemon, as the probe of the
// secret. That the unit is active says that a process runs; this says that
// somebody with a certificate gets in.
func (p *prober) prove(ctx context.Context, folder string, as account) error {
	ctx, cancel := context.WithTimeout(ctx, proveWithin)
	defer cancel()
	log, err := p.run(ctx, filepath.Join(folder, probeConfig), as)
	if err != nil {
		return refusing(fmt.Errorf("connecting to the daemon as a client: %w%s", err, inParentheses(tellingLine(log))),
			"look at \"journalctl -u %s\"; the daemon does not stay up unproven", openvpnUnit)
	}
	return nil
}

// wait returns when no client is left. While they leave, the rest of the run
// goes on.
func (p *prober) wait() {
	for _, leave := range p.leaving {
		leave()
	}
	p.leaving = nil
}

// run starts the client, returns when it is connected or has failed, and asks
// it to leave.
func (p *prober) run(ctx context.Context, config string, as account) (string, error) {
	// The context does not kill it: whoever is asked to leave tells the server.
	command := exec.Command(p.program, "--config", config) //nolint:noctx // fixed program; the context is minded below
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if syscall.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)} //nolint:gosec // from the passwd file
	}
	watch := &watcher{seen: make(chan struct{})}
	command.Stdout, command.Stderr = watch, watch
	command.WaitDelay = farewell
	if err := command.Start(); err != nil {
		return "", fmt.Errorf("starting %q: %w", p.program, err)
	}
	gone := make(chan struct{})
	var end error // once gone is closed
	go func() { end = command.Wait(); close(gone) }()

	select {
	case <-gone:
		return watch.log.String(), fmt.Errorf("the client gave up: %w", exitWords(end))
	case <-ctx.Done():
		if err := kill(command.Process, gone); err != nil {
			return "", fmt.Errorf("it is not connected after %s, and %w", proveWithin, err)
		}
		return watch.log.String(), fmt.Errorf("it is not connected after %s", proveWithin)
	case <-watch.seen:
	}
	_ = command.Process.Signal(syscall.SIGTERM) // who does not hear it is killed
	p.leaving = append(p.leaving, func() {
		select {
		case <-gone:
		case <-time.After(farewell):
			// Pdeathsig ends it with this program at the latest.
			_ = kill(command.Process, gone)
		}
	})
	return "", nil
}

// kill ends the client and waits until it is gone. Killing another user's process
// takes CAP_KILL, and waiting for one that was not killed would last for ever.
func kill(client *os.Process, gone <-chan struct{}) error {
	if err := client.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the client (pid %d): %w", client.Pid, err)
	}
	select {
	case <-gone:
		return nil
	case <-time.After(proveWithin):
		return fmt.Errorf("the client (pid %d) does not end", client.Pid)
	}
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
