// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package progress

import (
	"bytes"
	"strings"
	"sync"
)

// Lines says every line that is written to it. It is safe for concurrent use.
type Lines struct {
	say  func(string)
	mu   sync.Mutex
	part []byte
}

// NewLines returns a Lines that says its lines with say.
func NewLines(say func(string)) *Lines { return &Lines{say: say} }

// Write takes a piece of output; lines may be cut anywhere.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		if line := strings.TrimRight(string(l.part[:i]), "\r "); line != "" {
			l.say(line)
		}
		l.part = l.part[i+1:]
	}
}

// Close says what is left without an end of line.
func (l *Lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := strings.TrimSpace(string(l.part)); line != "" {
		l.say(line)
	}
	l.part = nil
	return nil
}
