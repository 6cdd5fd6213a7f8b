// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReportWithoutResult: no tag says ready when the file cannot be written.
func TestReportWithoutResult(t *testing.T) {
	g := newGateway(t, vpnDocument)
	// A folder in the result's place, which no file can replace.
	if err := os.MkdirAll(filepath.Join(g.machine.layout.result(), "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := g.program().run(t.Context())
	g.want(r, Refused, "writing the result")
	if g.cloud.tags[statusTag] != "refused" {
		t.Errorf("the tag says %q", g.cloud.tags[statusTag])
	}
}

// TestReportAfterDeadline: the tag does not keep the state of the last run.
func TestReportAfterDeadline(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	ctx, cancel := context.WithCancel(t.Context())
	g.proving = func() error { cancel(); return errors.New("the time is over") }
	r := g.bootIn(ctx)
	if r.State == Ready || g.cloud.tags[statusTag] != string(r.State) {
		t.Errorf("%s, and the tag says %q", r.State, g.cloud.tags[statusTag])
	}
}

func TestReportTagsDenied(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.cloud.spoil("CreateTags", denied)
	r := g.boot()
	g.want(r, Ready, "")
	kept, err := readResult(g.machine.layout.result())
	if err != nil || len(kept.Warnings) != 1 || !strings.Contains(kept.Warnings[0], "tagging") {
		t.Errorf("the file has %q, %v", kept.Warnings, err)
	}
	if !strings.Contains(g.log.String(), "level=WARN msg=\"tagging") {
		t.Errorf("the journal has %s", g.log.String())
	}
}
