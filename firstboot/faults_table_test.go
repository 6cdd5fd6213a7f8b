// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const faultsTable = "testdata/faults.tsv"

// readCells reads the committed table. What begins with "#" is for people.
func readCells(t *testing.T) map[string]cell {
	t.Helper()
	text, err := os.ReadFile(faultsTable)
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string]cell{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || *updateFaults {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) != 9 {
			t.Fatalf("%s: %q", faultsTable, line)
		}
		c := cell{part: columns[0], fault: columns[1], moment: columns[2], passes: columns[6]}
		c.state, c.cause, c.advice = State(columns[3]), columns[7], columns[8]
		if _, err := fmt.Sscan(columns[4], &c.code); err != nil {
			t.Fatal(err)
		}
		if c.within, err = time.ParseDuration(columns[5]); err != nil {
			t.Fatal(err)
		}
		cells[c.key()] = c
	}
	return cells
}

// writeCells keeps the head of the table.
func writeCells(t *testing.T, seen map[string]cell) {
	t.Helper()
	text, err := os.ReadFile(faultsTable)
	if err != nil {
		t.Fatal(err)
	}
	var head, lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			head = append(head, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, c := range seen {
		lines = append(lines, c.String())
	}
	slices.Sort(lines)
	if err := os.WriteFile(faultsTable, []byte(strings.Join(slices.Concat(head, lines), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// policy is when the image's units run the program again.
type policy struct {
	first, most time.Duration
	steps       int
	timer       time.Duration
}

func readPolicy(t *testing.T) policy {
	t.Helper()
	units := os.DirFS("../images/rootfs/usr/lib/systemd/system")
	setting := func(unit, name string) string {
		text, err := fs.ReadFile(units, unit)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, name+"="); ok {
				return strings.TrimSpace(value)
			}
		}
		t.Fatalf("%s says nothing of %s", unit, name)
		return ""
	}
	span := func(unit, name string) time.Duration {
		value := strings.ReplaceAll(setting(unit, name), "min", "m")
		if !strings.ContainsAny(value, "ms") {
			value += "s"
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	p := policy{first: span("vpnami-firstboot.service", "RestartSec"), most: span("vpnami-firstboot.service", "RestartMaxDelaySec")}
	if _, err := fmt.Sscan(setting("vpnami-firstboot.service", "RestartSteps"), &p.steps); err != nil {
		t.Fatal(err)
	}
	p.timer = span("vpnami-sync.timer", "OnUnitInactiveSec") + span("vpnami-sync.timer", "AccuracySec")
	return p
}

// pause is systemd's before the n-th restart (systemd.service(5), RestartSteps).
func (p policy) pause(n int) time.Duration {
	if n > p.steps {
		return p.most
	}
	return time.Duration(float64(p.first) * math.Pow(float64(p.most)/float64(p.first), float64(n-1)/float64(p.steps)))
}

var (
	someTime = regexp.MustCompile(`\d{4}-\d\d-\d\d(T[0-9:.]+Z)?`)
	someTry  = regexp.MustCompile(`after attempts: \d+`)
	someSum  = regexp.MustCompile(`\d+ bytes, sha256 [0-9a-f]+|, [0-9a-f]{12}\.\.\.|sha256 [0-9a-f]{12}\.\.\.|this one is [0-9a-f]{12}\.\.\.`)
	someID   = regexp.MustCompile(`(?i)request ?id: [^,;"]*`)
	someTemp = regexp.MustCompile(`\.vpnami-\d{4,}`)
	// Its questions come in any order.
	someCard = regexp.MustCompile(`network/interfaces/macs/[^"]*`)
	someName = regexp.MustCompile(`\(serial \d+\)`)
)

// plain is a cause without what differs from run to run.
func plain(g *gateway, cause string) string {
	cause = strings.ReplaceAll(cause, g.machine.layout.root, "")
	cause = someTry.ReplaceAllString(cause, "after N attempts")
	cause = someSum.ReplaceAllString(cause, "SUM")
	cause = someID.ReplaceAllString(cause, "RequestID")
	cause = someTime.ReplaceAllString(cause, "DATE")
	cause = someTemp.ReplaceAllString(cause, ".vpnami-N")
	cause = someCard.ReplaceAllString(cause, "network/interfaces/...")
	cause = someName.ReplaceAllString(cause, "(serial N)")
	cause = strings.NewReplacer("\n", "; ", "\t", " ").Replace(cause)
	return filepath.ToSlash(cause)
}
