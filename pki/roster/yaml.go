// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package roster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

func parseYAML(text []byte) ([]Entry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is nobody in it")
		}
		return nil, fmt.Errorf("reading YAML: %w", err)
	}
	var more yaml.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document in it: give one list")
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.SequenceNode {
		return nil, errors.New("it is no list of people, each with \"name\" and, if wanted, \"address\", \"groups\", \"note\"")
	}
	var entries []Entry
	for _, node := range document.Content[0].Content {
		entry, err := parseNode(node)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", node.Line, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func parseNode(node *yaml.Node) (Entry, error) {
	if node.Kind != yaml.MappingNode {
		return Entry{}, errors.New("it is no person: write \"- name: NAME\"")
	}
	entry := Entry{Line: node.Line}
	// A tag makes another text of what is written: "!!binary YWRtaW4=" is "admin" to
	// one reader and not to another.
	if line, tagged := taggedLine(node); tagged {
		return Entry{}, fmt.Errorf("there is a tag (\"!...\") in line %d: write the text as it is meant", line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		if !slices.Contains(columns(), key) {
			return Entry{}, fmt.Errorf("the key %q is unknown: the keys are %s", key, strings.Join(columns(), ", "))
		}
		if seen[key] {
			return Entry{}, fmt.Errorf("the key %q is there twice", key)
		}
		seen[key] = true
		if key == "groups" {
			isText := func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag != "!!null" }
			if err := value.Decode(&entry.Groups); err != nil || slices.ContainsFunc(value.Content, func(n *yaml.Node) bool { return !isText(n) }) {
				return Entry{}, errors.New("\"groups\" is no list of names")
			}
			continue
		}
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			return Entry{}, fmt.Errorf("%q is no text", key)
		}
		switch key {
		case "name":
			entry.Name = value.Value
		case "note":
			entry.Note = value.Value
		case "address":
			var err error
			if entry.Address, err = ParseAddress(value.Value); err != nil {
				return Entry{}, err
			}
		}
	}
	return entry, nil
}

// taggedLine finds a tag that somebody wrote.
func taggedLine(node *yaml.Node) (int, bool) {
	if node.Style&yaml.TaggedStyle != 0 {
		return node.Line, true
	}
	for _, inside := range node.Content {
		if line, tagged := taggedLine(inside); tagged {
			return line, true
		}
	}
	return 0, false
}
