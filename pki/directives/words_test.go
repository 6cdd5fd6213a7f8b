// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
	"testing"
)

// TestWords has lines with which words end, or do not, where one would not think so.
// TestOpenVPN puts the same to OpenVPN.
func TestWords(t *testing.T) {
	for _, example := range WordExamples() {
		words, err := split(example.Line)
		if (err != nil) != example.Refused || !slices.Equal(words, example.Words) {
			t.Errorf("%q: %q, %v", example.Line, words, err)
		}
	}
}

// quote has a line of a word, whatever is in it.
func quote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

func FuzzWords(f *testing.F) {
	for _, example := range WordExamples() {
		f.Add(example.Line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			if !strings.ContainsAny(line, `"'\`) {
				t.Errorf("without a quote or a backslash: %v", err)
			}
			return
		}
		if len(words) > mostWords {
			t.Errorf("%d words", len(words))
		}
		// Written with quotes they are the same words, close together too.
		for _, between := range []string{" ", "", "\v"} {
			var quoted []string
			for _, word := range words {
				quoted = append(quoted, quote(word))
			}
			if again, err := split(strings.Join(quoted, between)); err != nil || !slices.Equal(again, words) {
				t.Errorf("%q are %q when quoted: %v", words, again, err)
			}
		}
		// Without quotes and backslashes they are what is between spaces.
		if strings.ContainsAny(line, `"'\`) {
			return
		}
		fields := strings.FieldsFunc(line, func(r rune) bool { return r < 128 && strings.ContainsRune(spaces, r) })
		if comment := slices.IndexFunc(fields, func(field string) bool { return field[0] == '#' || field[0] == ';' }); comment >= 0 {
			fields = fields[:comment]
		}
		if want := fields[:min(len(fields), mostWords)]; !slices.Equal(words, want) {
			t.Errorf("%q, want %q", words, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("port 1194\nproto udp\n<ca>\nx\n</ca>\n"))
	f.Add([]byte("push \"route 10.0.0.0 255.255.0.0\"\nkey 'a\\' b\n"))
	f.Add([]byte("<connection>\nremote a\n<tls-auth>\nx\n</tls-auth>\n</connection>\n--<ca>\n" + strings.Repeat("x", 255) + "</ca>\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := Parse(text)
		if err != nil {
			return
		}
		for i, l := range lines {
			if l.Number < 1 || l.Number > strings.Count(string(text), "\n")+1 || i > 0 && l.Number <= lines[i-1].Number {
				t.Errorf("a directive in line %d", l.Number)
			}
			if len(l.Args) >= mostWords || l.Inlined && len(l.Args) > 0 || !l.Inlined && l.Inline != "" {
				t.Errorf("%+v", l)
			}
		}
		if len(Lint(lines)) < len(lines) {
			t.Error("a directive is passed over")
		}
		// What stands behind a configuration that is whole is not swallowed.
		behind, err := Parse([]byte(string(text) + "\nverb 3\n"))
		if err != nil && strings.Contains(err.Error(), "too long") {
			return // with the end that its last line has now
		}
		if err != nil || len(behind) != len(lines)+1 || !behind[len(lines)].Same(Line{Name: "verb", Args: []string{"3"}}) {
			t.Errorf("with a line behind it: %+v, %v", behind, err)
		}
	})
}
