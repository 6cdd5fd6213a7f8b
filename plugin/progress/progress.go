// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package progress turns what mmdebstrap, apt and dpkg say, a thousand lines, into
// the few that a person who watches a bake wants to read. It runs in the plugin,
// beside Packer's ui.
package progress

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// every is how many packages lie between two lines: a bake sets up about 250, and
// a line every second or two shows that it lives.
const every = 25

// tailLines is how much of the end is kept for an error: dpkg tells of a failure
// within its last dozen lines.
const tailLines = 25

var (
	count   = regexp.MustCompile(`^(?:\d+ upgraded, )(\d+) newly installed`)
	size    = regexp.MustCompile(`^Need to get ([0-9.,]+ [kMG]?B)`)
	failure = regexp.MustCompile(`^(E:|dpkg: error|sh: |/bin/sh: )`)
	// routine lines are never why something failed.
	routine = regexp.MustCompile(`^(Get:|Hit:|Selecting previously|Preparing to unpack|Unpacking |\(Reading database)`)
	stages  = regexp.MustCompile(`^I: ((?:running|downloading|extracting|installing|setting) .*|success .*)`)
)

// Writer reads lines and says the few that matter. It is safe for concurrent use:
// a process writes both its outputs into it.
type Writer struct {
	say  func(string)
	mu   sync.Mutex
	part []byte
	tail []string
	// total packages of the run at hand, and how many are set up.
	total, done int
	// cause is the first line that tells of a failure.
	cause string
}

// New returns a Writer that says its lines with say.
func New(say func(string)) *Writer { return &Writer{say: say} }

// Write takes a piece of output; lines may be cut anywhere.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, p...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.line(strings.TrimRight(string(w.part[:i]), "\r"))
		w.part = w.part[i+1:]
	}
}

func (w *Writer) line(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	if !routine.MatchString(line) {
		if len(w.tail) == tailLines {
			w.tail = w.tail[1:]
		}
		w.tail = append(w.tail, line)
	}

	switch {
	case stages.MatchString(line):
		w.say(strings.TrimSuffix(stages.FindStringSubmatch(line)[1], "..."))
	case failure.MatchString(line):
		if w.cause == "" {
			w.cause = line
		}
		w.say(line)
	case strings.HasPrefix(line, "W:"):
		w.say(line)
	case count.MatchString(line):
		w.done = 0
		if _, err := fmt.Sscanf(count.FindStringSubmatch(line)[1], "%d", &w.total); err != nil {
			w.total = 0
		}
	case size.MatchString(line):
		w.say(fmt.Sprintf("%d packages, %s to download", w.total, size.FindStringSubmatch(line)[1]))
	case strings.HasPrefix(line, "Setting up "):
		w.done++
		if w.done%every == 0 {
			w.say(fmt.Sprintf("%d packages set up", w.done))
		}
	}
}

// Cause returns the first line that told of a failure, or nothing.
func (w *Writer) Cause() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// Tail returns the last lines that are not routine, for a run that failed.
func (w *Writer) Tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(append(w.tail[:len(w.tail):len(w.tail)], string(w.part)), "\n")
}
