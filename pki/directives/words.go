// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"errors"
	"strings"
)

const (
	// spaces are what divides words: C's isspace, in the locale that OpenVPN has.
	spaces = " \t\n\v\f\r"
	// mostWords is MAX_PARMS in OpenVPN's options.h. What stands behind so many
	// words is not looked at.
	mostWords = 16
)

// Where in a line what is read stands.
type place int

const (
	between place = iota
	inWord
	inQuotes
	inApostrophes
)

// split divides a line into words as parse_line in OpenVPN's options.c does. A quote
// counts only where a word begins, and the word ends with the closing one, whatever
// stands behind; a comment begins only where a word can. A backslash takes from what
// follows its meaning, but not from a comment's beginning, and stands only before
// itself, a double quote or a space.
func split(line string) ([]string, error) {
	var words []string
	var word []byte
	at, escaped := between, false
	for i := 0; i < len(line) && len(words) < mostWords; i++ {
		c, plain := line[i], !escaped
		if c == '\\' && plain && at != inApostrophes {
			escaped = true
			continue
		}
		escaped = false
		space := strings.IndexByte(spaces, c) >= 0
		switch {
		case at == between && space:
			continue
		case at == between && (c == '#' || c == ';'):
			return words, nil
		case at == between && c == '"' && plain:
			at = inQuotes
			continue
		case at == between && c == '\'' && plain:
			at = inApostrophes
			continue
		case at == between:
			at = inWord
		case at == inWord && space && plain, at == inQuotes && c == '"' && plain, at == inApostrophes && c == '\'':
			words, word, at = append(words, string(word)), nil, between
			continue
		}
		if !plain && c != '\\' && c != '"' && !space {
			return nil, errors.New("a backslash stands before what needs none: OpenVPN takes it before a backslash, a double quote or a space, such as in \"C:\\\\keys\\\\my.key\"")
		}
		word = append(word, c)
	}
	switch {
	case at == inQuotes, at == inApostrophes:
		return nil, errors.New("a quote has no end")
	case at == inWord && escaped:
		return nil, errors.New("a backslash has nothing behind it")
	case at == inWord:
		words = append(words, string(word))
	}
	return words, nil
}
