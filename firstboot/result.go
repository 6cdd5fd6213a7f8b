// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// resultSchema is the version of result.json.
const resultSchema = 1

// Result is how a run ended: result.json, which is written last and stands for
// "the first boot is over".
type Result struct {
	Schema   int        `json:"schema"`
	State    State      `json:"state"`
	Role     Role       `json:"role,omitempty"`
	Instance string     `json:"instance,omitempty"`
	BootID   string     `json:"boot_id,omitempty"`
	Version  string     `json:"version"`
	Started  time.Time  `json:"started"`
	Finished time.Time  `json:"finished"`
	Steps    []Step     `json:"steps"`
	Cause    string     `json:"cause,omitempty"`
	Advice   string     `json:"advice,omitempty"`
	Warnings []string   `json:"warnings,omitempty"`
	Network  string     `json:"network,omitempty"`
	Port     string     `json:"port,omitempty"` // "udp/1194"
	Server   *ServerEnd `json:"server,omitempty"`
	CRL      *CRLEnd    `json:"crl,omitempty"`
	SSH      *SSHEnd    `json:"ssh,omitempty"`
	Own      *OwnEnd    `json:"own,omitempty"` // with nat: per-client
	// Sync is what status adds; it has a file of its own, which outlives a run.
	Sync *SyncEnd `json:"sync,omitempty"`
	// Image is what status adds of the image's manifest.
	Image *BakedImage `json:"image,omitempty"`
	// SSHNow and Sessions are what status finds when it is asked.
	SSHNow   *SSHNow      `json:"ssh_now,omitempty"`
	Sessions *SessionsNow `json:"sessions,omitempty"`
}

// Step is one step that was begun.
type Step struct {
	Name   string `json:"name"`
	TookMS int64  `json:"took_ms"`
	Failed bool   `json:"failed,omitempty"`
}

// ServerEnd is the daemon's certificate.
type ServerEnd struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"` // SHA-256
	NotAfter    time.Time `json:"not_after"`
	CANotAfter  time.Time `json:"ca_not_after"`
	Generation  uint64    `json:"generation"`
	People      int       `json:"people"`
}

// CRLEnd is the revocation list.
type CRLEnd struct {
	Number     string    `json:"number"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"`
	Issuer     string    `json:"issuer,omitempty"` // SHA-256 of the CA's public key
}

// SSHEnd is the SSH ingress from outside the VPC.
type SSHEnd struct {
	Revoked []string `json:"revoked"` // in this run, by rule id
	Left    []Left   `json:"left"`
}

func (r Result) took() time.Duration { return r.Finished.Sub(r.Started).Round(time.Millisecond) }

// Line is the result in one line, the last that the console shows.
func (r Result) Line() string {
	if r.State != Ready {
		line := fmt.Sprintf("%s: %s", r.State, r.Cause)
		if r.Advice != "" {
			line += " -- " + r.Advice
		}
		return line
	}
	words := []string{"role=" + string(r.Role)}
	if r.Port != "" {
		words = append(words, "network="+r.Network, "port="+r.Port)
	}
	if r.Server != nil && r.CRL != nil {
		words = append(words, fmt.Sprintf("generation=%d", r.Server.Generation),
			"certificate-ends="+r.Server.NotAfter.Format(time.DateOnly), "crl-due="+r.CRL.NextUpdate.Format(time.DateOnly))
	}
	if r.Own != nil {
		words = append(words, fmt.Sprintf("own-addresses=%d/%d", r.Own.People, r.Own.all()))
	}
	if r.SSH != nil {
		ssh := "closed"
		if len(r.SSH.Left) > 0 {
			ssh = fmt.Sprintf("left-open:%d", len(r.SSH.Left))
		}
		words = append(words, "ssh="+ssh)
	}
	return fmt.Sprintf("%s: %s version=%s took=%s", r.State, strings.Join(words, " "), r.Version, r.took())
}

// writeResult is the last act of a run.
func writeResult(path string, r Result) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	// Everybody on the machine may read it; there is nothing secret in it.
	if err := replaceFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

func readResult(path string) (Result, error) {
	var r Result
	data, err := os.ReadFile(path)
	if err != nil {
		return Result{}, fmt.Errorf("reading the result: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Result{}, fmt.Errorf("reading the result %q: %w", path, err)
	}
	if r.Schema != resultSchema {
		return Result{}, fmt.Errorf("reading the result %q: it is of schema %d, this program reads %d", path, r.Schema, resultSchema)
	}
	return r, nil
}
