// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// finding is one line of the table: what was to be so, and what was seen.
type finding struct {
	what    string
	seen    string
	verdict verdict
}

// verdict is how a finding came out.
type verdict int

const (
	holds verdict = iota
	fails
	// over: a time above its bound. It fails nothing: a slow mirror or a busy
	// machine says nothing against the image.
	over
)

// findings are what a rehearsal has checked so far.
type findings struct {
	lines []finding
}

func (f *findings) check(ok bool, what, seenFormat string, args ...any) {
	f.add(ok, fails, what, fmt.Sprintf(seenFormat, args...))
}

// time is check for a time and its bound.
func (f *findings) time(within bool, what, seenFormat string, args ...any) {
	f.add(within, over, what, fmt.Sprintf(seenFormat, args...))
}

func (f *findings) add(ok bool, otherwise verdict, what, seen string) {
	v := holds
	if !ok {
		v = otherwise
	}
	f.lines = append(f.lines, finding{what: what, seen: seen, verdict: v})
}

// print writes the table.
func (f *findings) print(w io.Writer, p paint) {
	width := len("What was checked")
	for _, l := range f.lines {
		width = max(width, len(l.what))
	}
	fmt.Fprintf(w, "\n    %-*s  %s\n", width, "What was checked", "What was seen")
	fmt.Fprintf(w, "    %s  %s\n", strings.Repeat("-", width), strings.Repeat("-", 60))
	marks := map[verdict]string{holds: p.good.Render("ok"), fails: p.bad.Render("NO"), over: p.dim.Render("--")}
	exceeded := false
	for _, l := range f.lines {
		fmt.Fprintf(w, "%s  %-*s  %s\n", marks[l.verdict], width, l.what, l.seen)
		exceeded = exceeded || l.verdict == over
	}
	fmt.Fprintln(w)
	if exceeded {
		fmt.Fprintf(w, "%s  over the bound on this machine: no failure, as a busy machine or a slow mirror does that, too\n\n", marks[over])
	}
}

// err names what did not hold; a time is not among it.
func (f *findings) err() error {
	var failed []string
	for _, l := range f.lines {
		if l.verdict == fails {
			failed = append(failed, l.what)
		}
	}
	if failed == nil {
		return nil
	}
	return errors.New("what does not hold: " + strings.Join(failed, "; "))
}
