// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package hardening

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Audit is what Lynis found.
type Audit struct {
	// Index is the hardening index, of 100.
	Index int
	// Tests is how many tests were made.
	Tests int
	// Left are the tests with a suggestion or a warning, sorted.
	Left []string
	// Says has what Lynis says of each of them.
	Says map[string][]string
}

func (a Audit) String() string {
	return fmt.Sprintf("hardening index %d (%d tests, %d with a suggestion or a warning)", a.Index, a.Tests, len(a.Left))
}

// ParseLynis reads the report of "lynis audit system": lines of key=value.
func ParseLynis(r io.Reader) (Audit, error) {
	a := Audit{Says: map[string][]string{}}
	lines := bufio.NewScanner(r)
	// One line lists every test, another every installed package.
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		var err error
		switch key {
		case "hardening_index":
			a.Index, err = strconv.Atoi(value)
		case "lynis_tests_done":
			a.Tests, err = strconv.Atoi(value)
		case "suggestion[]", "warning[]":
			name, says, _ := strings.Cut(value, "|")
			says, _, _ = strings.Cut(says, "|")
			a.Says[name] = append(a.Says[name], says)
			if !slices.Contains(a.Left, name) {
				a.Left = append(a.Left, name)
			}
		}
		if err != nil {
			return Audit{}, fmt.Errorf("reading Lynis's report: %q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return Audit{}, fmt.Errorf("reading Lynis's report: %w", err)
	}
	slices.Sort(a.Left)
	return a, nil
}

// Without leaves out what some tests said; the index is Lynis's own.
func (a Audit) Without(tests ...string) Audit {
	a.Left = slices.DeleteFunc(slices.Clone(a.Left), func(name string) bool { return slices.Contains(tests, name) })
	return a
}

// JudgeLynis tells what is wrong with a measure.
func (r Reasons) JudgeLynis(a Audit) []string {
	wrong := compare("is left by Lynis", a.Left, r.Lynis.Left)
	if a.Tests < r.Lynis.Tests {
		wrong = append(wrong, fmt.Sprintf("Lynis made only %d tests, where %d should be made", a.Tests, r.Lynis.Tests))
	}
	if a.Index < r.Lynis.Least {
		wrong = append(wrong, fmt.Sprintf("Lynis's hardening index is %d, at least %d is wanted", a.Index, r.Lynis.Least))
	}
	return wrong
}
