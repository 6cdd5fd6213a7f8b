// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

const stateSchema = 2

// State is what a lab writes down about itself: <run folder>/state.json.
type State struct {
	Schema  int     `json:"schema"`
	Options Options `json:"options"`
	VPC     VPC     `json:"vpc"`
	// Operator is the IAM user that the hosts work as.
	Operator Keys `json:"operator"`
}

// MachineState is what the agent knows of one instance's machine.
type MachineState struct {
	Name           string     `json:"name"`
	ID             string     `json:"id"`
	PrivateAddress netip.Addr `json:"private_address"`
	Running        bool       `json:"running"`
	Started        time.Time  `json:"started"`        // of this boot
	ConsoleOffset  int64      `json:"console_offset"` // where this boot begins in the console's file
	Error          string     `json:"error,omitempty"`
}

func statePath(name string) string { return filepath.Join(runDir(name), "state.json") }

func readState(name string) (State, error) {
	data, err := os.ReadFile(statePath(name))
	if err != nil {
		return State{}, err
	}
	return parseState(data)
}

func parseState(data []byte) (State, error) {
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("parsing state: %w", err)
	}
	if s.Schema != stateSchema {
		return State{}, fmt.Errorf("parsing state: schema %d, want %d: the lab was made by another version; take it down with that one", s.Schema, stateSchema)
	}
	if err := checkLabName(s.Options.Name); err != nil {
		return State{}, fmt.Errorf("parsing state: %w", err)
	}
	return s, nil
}

// write puts the state down at once: a reader sees the old or the new.
// It is not synced to disk: a lab does not outlive its kernel.
func (s State) write() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(statePath(s.Options.Name), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	return nil
}
