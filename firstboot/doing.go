// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"sync"
)

// doing is what a step waits for just now, for whoever is told that it takes
// long. A nil one is nobody's.
type doing struct {
	mu   sync.Mutex
	text string
}

func (d *doing) note(format string, args ...any) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = fmt.Sprintf(format, args...)
}

// what is the text as the end of a sentence.
func (d *doing) what() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.text == "" {
		return ""
	}
	return ": " + d.text
}
