// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FieldError is a field that is not as it must be. It never holds a value that
// could be secret.
type FieldError struct {
	Field   string // path, such as "probe.key" or "roster[3].name"
	Problem string // "is missing", "is a number", ...
	Allowed string // what it must be
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("field %q %s; it must be %s", e.Field, e.Problem, e.Allowed)
}

// object reads one JSON object strictly. encoding/json alone would take
// "KEY" for "key", the last of two equal keys, null for anything, and a number
// that it rounds; a document that decides who comes in must mean one thing.
type object struct {
	path   string
	fields map[string]json.RawMessage
}

// Format prints where the object is, never what is in it: it may be keys.
func (o object) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, orDocument(o.path)) }

// LogValue is as [object.Format].
func (o object) LogValue() slog.Value { return slog.StringValue(orDocument(o.path)) }

// readDocument reads a whole document: one object of known fields, nothing
// after it.
func readDocument(raw []byte, known ...string) (object, error) {
	if !utf8.Valid(raw) {
		return object{}, errors.New("the document is not valid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	var whole json.RawMessage
	if err := decoder.Decode(&whole); err != nil {
		return object{}, fmt.Errorf("the document is not JSON: %w", plainSyntax(err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return object{}, errors.New("there is something after the document; it must be one JSON object and no more")
	}
	return readObject("", whole, known...)
}

func readObject(path string, raw json.RawMessage, known ...string) (object, error) {
	if kind := kindOf(raw); kind != "an object" {
		return object{}, &FieldError{Field: orDocument(path), Problem: "is " + kind, Allowed: "an object with the fields " + quoteAll(known)}
	}
	o := object{path: path, fields: map[string]json.RawMessage{}}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return object{}, fmt.Errorf("reading %q: %w", orDocument(path), plainSyntax(err))
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return object{}, fmt.Errorf("reading %q: %w", orDocument(path), plainSyntax(err))
		}
		name, _ := token.(string) // within an object every second token is a key
		if !slices.Contains(known, name) {
			return object{}, &FieldError{Field: o.at(shorten(name)), Problem: "is unknown", Allowed: "one of " + quoteAll(known)}
		}
		if _, twice := o.fields[name]; twice {
			return object{}, &FieldError{Field: o.at(name), Problem: "is there twice", Allowed: "there once"}
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return object{}, fmt.Errorf("reading field %q: %w", o.at(name), plainSyntax(err))
		}
		o.fields[name] = value
	}
	return o, nil
}

func (o object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

func (o object) refuse(name, problem, allowed string) error {
	return &FieldError{Field: o.at(name), Problem: problem, Allowed: allowed}
}

func (o object) has(name string) bool { return o.fields[name] != nil }

// value returns the field's raw JSON when it is of the kind.
func (o object) value(name, kind, allowed string) (json.RawMessage, error) {
	raw, ok := o.fields[name]
	if !ok {
		return nil, o.refuse(name, "is missing", allowed)
	}
	if found := kindOf(raw); found != kind {
		return nil, o.refuse(name, "is "+found, allowed)
	}
	return raw, nil
}

func (o object) text(name, allowed string) (string, error) {
	raw, err := o.value(name, "a string", allowed)
	if err != nil {
		return "", err
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", o.refuse(name, "cannot be read", allowed)
	}
	if s == "" {
		return "", o.refuse(name, "is empty", allowed)
	}
	return s, nil
}

// number reads a whole number of min..max.
func (o object) number(name string, least, most uint64) (uint64, error) { //nolint:unparam // a range has two ends
	allowed := fmt.Sprintf("a whole number of %d to %d", least, most)
	if least == most {
		allowed = fmt.Sprintf("the number %d", least)
	} else if most == math.MaxUint64 {
		allowed = fmt.Sprintf("a whole number of %d or more", least)
	}
	raw, err := o.value(name, "a number", allowed)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || n < least || n > most {
		return 0, o.refuse(name, "is "+shorten(string(raw)), allowed)
	}
	return n, nil
}

// hash reads a SHA-256 in lower-case hex.
func (o object) hash(name string) (string, error) {
	const allowed = "a SHA-256 as 64 digits of lower-case hex"
	s, err := o.text(name, allowed)
	if err != nil {
		return "", err
	}
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || s != strings.ToLower(s) {
		return "", o.refuse(name, "is "+strconv.Quote(shorten(s)), allowed)
	}
	return s, nil
}

func (o object) list(name, allowed string) ([]json.RawMessage, error) {
	raw, err := o.value(name, "a list", allowed)
	if err != nil {
		return nil, err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, o.refuse(name, "cannot be read", allowed)
	}
	return items, nil
}

// texts reads a list of strings.
func (o object) texts(name, allowed string) ([]string, error) {
	items, err := o.list(name, allowed)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(items))
	for i, item := range items {
		each := object{path: o.path, fields: map[string]json.RawMessage{fmt.Sprintf("%s[%d]", name, i): item}}
		if out[i], err = each.text(fmt.Sprintf("%s[%d]", name, i), allowed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// plainSyntax keeps where it went wrong and drops the offending bytes, which
// may be of a key.
func plainSyntax(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("syntax error at byte %d", syntax.Offset)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return errors.New("it cannot be read")
}

func orDocument(path string) string {
	if path == "" {
		return "(the document)"
	}
	return path
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	return strings.Join(quoted, ", ")
}

// shorten keeps a value from filling a console.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
