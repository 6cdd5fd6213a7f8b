// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package directives reads an OpenVPN configuration, a server.conf or an .ovpn,
// and tells of each directive what OpenVPN 2.6 and 2.7 do with it, and what to
// write instead. It never looks at what files a directive names.
package directives

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Line is a directive as it stands in a file.
type Line struct {
	Number int
	Name   string
	Args   []string
	Inline string // what lies between <tag> and </tag>, as it is
	// Optional is that "setenv opt" stands before it: OpenVPN passes over it where
	// it does not know it, and heeds it where it does.
	Optional bool
}

// String is the directive in one line, short, without what lies inline.
func (l Line) String() string {
	text := strings.Join(append([]string{l.Name}, l.Args...), " ")
	if l.Optional {
		text = "setenv opt " + text
	}
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:57]) + "..."
	}
	return text
}

// MaxBytes is far above what a profile with a chain of certificates has.
const MaxBytes = 1 << 20

// Parse reads a configuration as OpenVPN does: words divided by spaces, quotes,
// backslashes, comments after # and ;, and what lies inline between <tag> and
// </tag>, which is not looked at.
func Parse(text []byte) ([]Line, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("it has %d bytes; %d is the limit", len(text), MaxBytes)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("there is a NUL in it: it is no OpenVPN configuration")
	}
	var lines []Line
	inside, since, connection := "", 0, false
	var inline strings.Builder
	for i, raw := range strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
		number := i + 1
		trimmed := strings.TrimSpace(raw)
		if inside != "" {
			if strings.HasPrefix(trimmed, "</"+inside+">") {
				lines[len(lines)-1].Inline, inside = inline.String(), ""
				inline.Reset()
				continue
			}
			inline.WriteString(raw + "\n")
			continue
		}
		if len(raw) >= longestLine {
			return nil, fmt.Errorf("line %d: it has %d bytes: OpenVPN does not start with a line of %d or more, of a comment either", number, len(raw), longestLine)
		}
		if connection && strings.HasPrefix(trimmed, "</connection>") {
			connection = false
			continue
		}
		words, err := split(trimmed)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if tag, is := tagOf(words); is {
			inside, since = tag, number
			if inside == "connection" {
				inside, connection, since = "", true, number // it holds directives, not a file
				continue
			}
			lines = append(lines, Line{Number: number, Name: inside, Args: []string{"[inline]"}})
			continue
		}
		if len(words) > 0 {
			lines = append(lines, lineOf(number, words))
		}
	}
	if connection {
		inside = "connection"
	}
	if inside != "" {
		return nil, fmt.Errorf("line %d: <%s> has no end </%s> (is the file cut off?)", since, inside, inside)
	}
	return lines, nil
}

func lineOf(number int, words []string) Line {
	l := Line{Number: number, Name: strings.TrimPrefix(words[0], "--"), Args: words[1:]}
	if l.Name == "setenv" && len(l.Args) > 1 && l.Args[0] == "opt" {
		l.Name, l.Args, l.Optional = l.Args[1], l.Args[2:], true
	}
	return l
}

// longestLine is OPTION_LINE_SIZE in OpenVPN's options.h, less the line's end.
const longestLine = 255

// tagOf tells whether a line begins what lies inline: OpenVPN looks for a tag
// alone among the words, so that a comment may stand behind it.
func tagOf(words []string) (string, bool) {
	if len(words) != 1 {
		return "", false
	}
	tag, opens := strings.CutPrefix(words[0], "<")
	tag, closes := strings.CutSuffix(tag, ">")
	return tag, opens && closes && tag != "" && !strings.HasPrefix(tag, "/")
}

// split divides a line into words.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, open, escaped := rune(0), false, false
	end := func() {
		if open {
			words = append(words, word.String())
			word.Reset()
			open = false
		}
	}
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '"' || r == '\'':
			quote, open = r, true
		case (r == '#' || r == ';') && !open:
			return words, nil
		case r == ' ' || r == '\t' || r == '\r':
			end()
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("a quote or a backslash has no end")
	}
	end()
	return words, nil
}
