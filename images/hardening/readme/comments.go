// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// reasonOf is the manifest's word, or the first paragraph of the comment that a
// file begins with, or what a unit or a PAM profile says that it is.
func reasonOf(e rootfs.Entry) string {
	if e.Why != "" {
		return e.Why
	}
	var words []string
	for line := range strings.Lines(string(e.Data)) {
		line = strings.TrimSpace(line)
		text, is := comment(line)
		switch {
		case strings.HasPrefix(line, "#!") || strings.HasPrefix(text, "SPDX-"):
			continue
		case is && text != "":
			words = append(words, text)
			continue
		case len(words) == 0 && is:
			continue
		}
		break
	}
	if len(words) == 0 {
		for line := range strings.Lines(string(e.Data)) {
			for _, key := range []string{"Description=", "Name: "} {
				if text, is := strings.CutPrefix(strings.TrimSpace(line), key); is {
					words = append(words, text)
				}
			}
		}
	}
	return strings.TrimPrefix(strings.Join(words, " "), "vpnami: ")
}

// comment is the text of a line that is one.
func comment(line string) (string, bool) {
	for _, mark := range []string{"#", "//"} {
		if text, is := strings.CutPrefix(line, mark); is {
			return strings.TrimSpace(text), true
		}
	}
	return "", false
}

// settingsOf pairs the lines of a file with the comment above them.
func settingsOf(text string) []row {
	var all []row
	var why []string
	fresh := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		said, is := comment(line)
		switch {
		case is:
			if !fresh {
				why, fresh = nil, true
			}
			why = append(why, said)
		case line == "":
			why, fresh = nil, false
		case strings.HasPrefix(line, "[") || len(why) == 0 && len(all) == 0:
			// A section of the file.
		case fresh || len(all) == 0:
			all = append(all, row{"`" + line + "`", strings.TrimPrefix(strings.TrimSpace(strings.Join(why, " ")), "vpnami: ")})
			fresh = false
		default:
			last := &all[len(all)-1]
			if len(why) == 0 && last.why != "" {
				all = append(all, row{"`" + line + "`", ""})
				continue
			}
			last.what += "<br>`" + line + "`"
		}
	}
	return all
}

// packagesOf reads the list of packages and the comment beside each.
func packagesOf(source []byte) ([]row, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	beside := map[int]string{}
	for _, group := range file.Comments {
		beside[set.Position(group.Pos()).Line] = strings.TrimSpace(group.Text())
	}
	var all []row
	ast.Inspect(file, func(n ast.Node) bool {
		f, is := n.(*ast.FuncDecl)
		if !is || f.Name.Name != "commonPackages" {
			return true
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if l, is := n.(*ast.BasicLit); is && l.Kind == token.STRING {
				name, failed := strconv.Unquote(l.Value)
				err = errors.Join(err, failed)
				all = append(all, row{"`" + name + "`", beside[set.Position(l.Pos()).Line]})
			}
			return true
		})
		return false
	})
	if len(all) == 0 {
		err = errors.Join(err, errors.New("there is no function commonPackages, or it names none"))
	}
	return all, err
}
