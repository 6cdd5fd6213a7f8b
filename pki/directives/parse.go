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
	"slices"
	"strconv"
	"strings"
)

// Line is a directive as it stands in a file.
type Line struct {
	Number int
	Name   string
	Args   []string
	// Inlined is that it stands as <tag>, and Inline what lies between that and
	// </tag>, as it is. A <connection> holds directives, which come after it as lines
	// of their own, and has nothing in Inline.
	Inlined bool
	Inline  string
	// Optional is that "setenv opt" stands before it: OpenVPN passes over it where
	// it does not know it, and heeds it where it does.
	Optional bool
	// Connection is the number of the <connection> that it is in, from 1 on; 0 is
	// none.
	Connection int
}

// String is the directive in one line, short, without what lies inline.
func (l Line) String() string {
	text := strings.Join(append([]string{l.Name}, l.Args...), " ")
	if l.Inlined {
		text = "<" + l.Name + ">"
	}
	if l.Optional {
		text = "setenv opt " + text
	}
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:57]) + "..."
	}
	return text
}

// Same tells whether two lines say the same, wherever they stand.
func (l Line) Same(other Line) bool {
	return l.Name == other.Name && slices.Equal(l.Args, other.Args) && l.Inlined == other.Inlined && l.Inline == other.Inline
}

// holdsDirectives tells that it is a <connection>.
func (l Line) holdsDirectives() bool {
	return l.Inlined && l.Name == "connection" && l.Connection == 0
}

// given are the arguments, of which what lies inline is one.
func (l Line) given() []string {
	if l.Inlined {
		return []string{""}
	}
	return l.Args
}

// MaxBytes is far above what a profile with a chain of certificates has.
const MaxBytes = 1 << 20

// Parse reads a configuration as OpenVPN does: words as [split] has them, and what
// lies inline between <tag> and </tag>, which is not looked at. It is refused where
// OpenVPN ends at it.
func Parse(text []byte) ([]Line, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("it has %d bytes; %d is the limit", len(text), MaxBytes)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("there is a NUL in it: it is no OpenVPN configuration")
	}
	var p parsing
	err := p.read(&source{rest: string(text), number: 1}, 0)
	return p.lines, err
}

type parsing struct {
	lines       []Line
	connections int
}

// read takes the lines of a file, or of a <connection> in it.
func (p *parsing) read(from *source, connection int) error {
	for {
		number := from.number
		line, more := from.next(longestLine)
		if !more {
			return nil
		}
		if len(line) == longestLine {
			return tooLong(number)
		}
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if connection > 0 {
			line = strings.TrimSuffix(line, "\n") // which a backslash can make part of a word
		}
		words, err := split(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if len(words) == 0 {
			continue
		}
		if len(words[0]) > len("--") {
			words[0] = strings.TrimPrefix(words[0], "--")
		}
		l := lineOf(number, connection, words)
		tag, is := tagOf(words)
		if !is {
			p.lines = append(p.lines, l)
			continue
		}
		l.Name, l.Inlined = tag, true
		start := from.number
		text, err := from.until(tag)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if !l.holdsDirectives() {
			l.Inline = text
			p.lines = append(p.lines, l)
			continue
		}
		for i, line := range strings.Split(text, "\n") { // of which OpenVPN would lose a part
			if len(line) >= longestLine-1 {
				return tooLong(start + i)
			}
		}
		p.connections++
		p.lines = append(p.lines, l)
		if err := p.read(&source{rest: text, number: start}, p.connections); err != nil {
			return err
		}
	}
}

func tooLong(number int) error {
	return fmt.Errorf("line %d: it is too long: OpenVPN does not start with a line of %d bytes or more, of a comment either", number, longestLine-1)
}

func lineOf(number, connection int, words []string) Line {
	l := Line{Number: number, Connection: connection, Name: words[0], Args: words[1:]}
	if len(l.Args) == 0 {
		l.Args = nil
	}
	if l.Name == "setenv" && len(l.Args) > 1 && l.Args[0] == "opt" {
		l.Name, l.Args, l.Optional = l.Args[1], l.Args[2:], true
	}
	return l
}

// longestLine is OPTION_LINE_SIZE in OpenVPN's options.h: with so many bytes, the
// line's end among them, a line is too long.
const longestLine = 256

// tagOf tells whether a line begins what lies inline: OpenVPN looks for a tag
// alone among the words, so that a comment may stand behind it.
func tagOf(words []string) (string, bool) {
	if len(words) != 1 || len(words[0]) < len("<>") {
		return "", false
	}
	tag, opens := strings.CutPrefix(words[0], "<")
	tag, closes := strings.CutSuffix(tag, ">")
	return tag, opens && closes
}

// source gives a text as C's fgets does, which is how OpenVPN reads: a line with
// its end, or as much of a longer one as there is room for, and the rest of that
// as if it were a line.
type source struct {
	rest   string
	number int // of the line that what comes next is of
}

func (s *source) next(room int) (piece string, more bool) {
	piece = s.rest[:min(room, len(s.rest))]
	if end := strings.IndexByte(piece, '\n'); end >= 0 {
		piece = piece[:end+1]
		s.number++
	}
	s.rest = s.rest[len(piece):]
	return piece, piece != ""
}

// until takes what is before </tag>, and that with what stands behind it.
func (s *source) until(tag string) (string, error) {
	var text strings.Builder
	for {
		piece, more := s.next(longestLine - 1)
		if !more {
			return "", fmt.Errorf("<%s> has no end </%s> (is the file cut off?)", readable(tag), readable(tag))
		}
		if strings.HasPrefix(strings.TrimLeft(piece, spaces), "</"+tag+">") {
			return text.String(), nil
		}
		text.WriteString(piece)
	}
}

// readable is text of a file as it may be told: without what turns, hides or colours text.
func readable(text string) string {
	var out strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			out.WriteRune(r)
		} else {
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return out.String()
}
