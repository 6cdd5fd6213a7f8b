// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SSHNow is the SSH ingress from outside the VPC as EC2 sees it when asked.
type SSHNow struct {
	Open  []string `json:"open"` // rules, in words
	Error string   `json:"error,omitempty"`
}

// SessionsNow are the sessions that the daemon's status file tells of. OpenVPN
// writes it once a minute.
type SessionsNow struct {
	Count int       `json:"count"`
	At    time.Time `json:"at,omitzero"`
	Error string    `json:"error,omitempty"`
}

// statusWithin: a person waits for it.
const statusWithin = 2 * askWithin

// sshNow asks EC2 who may reach SSH now: somebody may have opened it since.
func sshNow(ctx context.Context, service metadata, regional func(string) services) *SSHNow {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	now := &SSHNow{Open: []string{}}
	instance, err := identify(ctx, service)
	if err == nil {
		var gate Gate
		if gate, err = readGate(ctx, regional(instance.Region).ingress, instance.everyGroup()); err == nil {
			plan := planSeal(gate, slices.Concat(instance.VPC, instance.VPC6))
			for _, rule := range plan.Revoke {
				now.Open = append(now.Open, rule.String())
			}
			for _, left := range plan.Left {
				now.Open = append(now.Open, left.What)
			}
		}
	}
	if err != nil {
		now.Error = oneLine(err)
	}
	return now
}

// sessionsNow reads the daemon's status file.
func sessionsNow(path string) *SessionsNow {
	data, err := os.ReadFile(path)
	if err != nil {
		return &SessionsNow{Error: fmt.Sprintf("reading the daemon's status: %v", err)}
	}
	now, err := parseSessions(string(data))
	if err != nil {
		return &SessionsNow{Error: fmt.Sprintf("reading the daemon's status %q: %v", path, err)}
	}
	return &now
}

// parseSessions counts the clients of a status file of version 3, whose columns
// are divided by tabs (server.conf asks for it: a name that another program gave
// may hold a comma).
func parseSessions(text string) (SessionsNow, error) {
	var now SessionsNow
	ended := false
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		switch kind {
		case "TIME":
			_, epoch, _ := strings.Cut(rest, "\t")
			seconds, err := strconv.ParseInt(epoch, 10, 64)
			if err != nil {
				return SessionsNow{}, fmt.Errorf("its time is %q", rest)
			}
			now.At = time.Unix(seconds, 0).UTC()
		case "CLIENT_LIST":
			now.Count++
		case "END":
			ended = true
		}
	}
	if !ended || now.At.IsZero() {
		return SessionsNow{}, fmt.Errorf("it is not whole (%d bytes)", len(text))
	}
	return now, nil
}
