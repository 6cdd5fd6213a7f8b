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
	what string
	seen string
	ok   bool
}

// findings are what a rehearsal has checked so far.
type findings struct {
	lines []finding
}

func (f *findings) check(ok bool, what, seenFormat string, args ...any) {
	f.lines = append(f.lines, finding{what: what, seen: fmt.Sprintf(seenFormat, args...), ok: ok})
}

// print writes the table.
func (f *findings) print(w io.Writer, p paint) {
	width := len("What was checked")
	for _, l := range f.lines {
		width = max(width, len(l.what))
	}
	fmt.Fprintf(w, "\n    %-*s  %s\n", width, "What was checked", "What was seen")
	fmt.Fprintf(w, "    %s  %s\n", strings.Repeat("-", width), strings.Repeat("-", 60))
	for _, l := range f.lines {
		mark := p.good.Render("ok")
		if !l.ok {
			mark = p.bad.Render("NO")
		}
		fmt.Fprintf(w, "%s  %-*s  %s\n", mark, width, l.what, l.seen)
	}
	fmt.Fprintln(w)
}

// err names what did not hold.
func (f *findings) err() error {
	var failed []string
	for _, l := range f.lines {
		if !l.ok {
			failed = append(failed, l.what)
		}
	}
	if failed == nil {
		return nil
	}
	return errors.New("what does not hold: " + strings.Join(failed, "; "))
}
