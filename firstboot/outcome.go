// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
)

// State is how a run ends; doc.go says what each means.
type State string

// The four states.
const (
	Ready    State = "ready"
	Waiting  State = "waiting"
	Refused  State = "refused"
	Degraded State = "degraded"
)

// Exit codes. systemd's Restart=on-failure runs the program again on all but 0.
// They are those of sysexits.h, since systemd prints these by name
// ("status=75/TEMPFAIL") and the small ones by names of init scripts that
// would mislead ("status=4/NOPERMISSION").
const (
	exitReady    = 0
	exitFound    = 1
	exitUsage    = 64 // EX_USAGE
	exitDegraded = 69 // EX_UNAVAILABLE
	exitWaiting  = 75 // EX_TEMPFAIL
	exitRefused  = 78 // EX_CONFIG
)

func (s State) exitCode() int {
	switch s {
	case Ready:
		return exitReady
	case Waiting:
		return exitWaiting
	case Degraded:
		return exitDegraded
	default:
		return exitRefused
	}
}

// failure is an error that knows the state it leads to and what a person can
// do about it.
type failure struct {
	state  State
	advice string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// waitingFor is for what may appear without anybody touching the instance.
func waitingFor(err error, advice string, args ...any) error {
	return &failure{state: Waiting, advice: fmt.Sprintf(advice, args...), err: err}
}

// refusing is for what was given and cannot be used.
func refusing(err error, advice string, args ...any) error {
	return &failure{state: Refused, advice: fmt.Sprintf(advice, args...), err: err}
}

// verdict takes apart what a step returned. What no step has classified is a
// fault of the machine, such as a full disk.
func verdict(err error) (State, string) {
	var f *failure
	if errors.As(err, &f) {
		return f.state, f.advice
	}
	return Refused, "look at \"journalctl -u vpnami-firstboot\" and at the machine (disk, memory, systemd)"
}
