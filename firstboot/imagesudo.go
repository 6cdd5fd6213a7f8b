// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// sudoLine is a line of a file that sudo reads.
type sudoLine struct{ path, text string }

// sudoSyntax is what is told apart in them; see sudoers(5).
type sudoSyntax struct{ include, comment, defaults, free, alias, root *regexp.Regexp }

func newSudoSyntax() sudoSyntax {
	return sudoSyntax{
		include:  regexp.MustCompile(`^[@#](include|includedir)\s+(?:"([^"]+)"|((?:\\.|\S)+))`),
		comment:  regexp.MustCompile(`^(#[^-\d]|#$)`), // "#1000" is an account by its number
		defaults: regexp.MustCompile(`^Defaults([\s:@>!]|$)`),
		free:     regexp.MustCompile(`!\s*authenticate\b|\bexempt_group\b`),
		alias:    regexp.MustCompile(`^(User|Runas|Host|Cmnd|Cmd)_Alias\s`),
		root:     regexp.MustCompile(`^root\s+[^\s,=]+\s*=`),
	}
}

// sudoers finds who may become root, or anybody, by sudo. In an image that is root,
// and, with a password, which nobody has, the distribution's group; and those whom
// EC2's own ways in are for. What a package brings, its owner has chosen.
func (i image) sudoers() ([]string, error) {
	syntax := newSudoSyntax()
	// sudo-rs, Ubuntu's since 26.04, reads a file of its own where there is one.
	var lines []sudoLine
	for _, path := range []string{"/etc/sudoers", "/etc/sudoers-rs"} {
		below, err := i.sudoLines(syntax, path, map[string]bool{})
		if err != nil {
			return nil, err
		}
		lines = append(lines, below...)
	}
	launched, err := i.cloudUser()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, line := range lines {
		if !syntax.grants(line.text) || line.launched(launched) {
			continue
		}
		packaged, err := i.configured(line.path)
		if err != nil {
			return nil, err
		}
		if at := line.path + " (" + line.text + ")"; !packaged && !slices.Contains(found, at) {
			found = append(found, at)
		}
	}
	return found, nil
}

// grants tells whether a line lets anybody do something, for nothing or at all.
func (s sudoSyntax) grants(line string) bool {
	switch {
	case s.defaults.MatchString(line):
		return s.free.MatchString(line)
	case s.alias.MatchString(line), s.root.MatchString(line):
		return false // an alias counts where it is used
	}
	usual := []string{"%sudo ALL=(ALL:ALL) ALL", "%admin ALL=(ALL) ALL", "%admin ALL=(ALL:ALL) ALL"} // Debian's and Ubuntu's
	return !slices.Contains(usual, strings.Join(strings.Fields(line), " "))
}

// launched tells of the lines that are written at each launch: by cloud-init for the
// account that gets the launch's key, and by the agent of Systems Manager for its own.
// A guest that bakes has them.
func (l sudoLine) launched(user string) bool {
	const all = " ALL=(ALL) NOPASSWD:ALL"
	return l.path == "/etc/sudoers.d/90-cloud-init-users" && user != "" && strings.HasPrefix(l.text, user+" ALL=") ||
		l.path == "/etc/sudoers.d/ssm-agent-users" && l.text == "ssm-user"+all
}

// cloudUser is cloud-init's default user: the last file that names one counts.
func (i image) cloudUser() (string, error) {
	files, err := i.matches("etc/cloud/cloud.cfg.d/*.cfg")
	if err != nil {
		return "", err
	}
	last := ""
	for _, path := range append([]string{"/etc/cloud/cloud.cfg"}, files...) {
		data, err := i.read(path)
		if err != nil {
			return "", err
		}
		var config struct {
			SystemInfo struct {
				DefaultUser struct{ Name string } `yaml:"default_user"`
			} `yaml:"system_info"`
		}
		// What cloud-init cannot read names nobody.
		if err := yaml.Unmarshal(data, &config); err == nil && config.SystemInfo.DefaultUser.Name != "" {
			last = config.SystemInfo.DefaultUser.Name
		}
	}
	return last, nil
}

// sudoLines returns the lines of a file and of those that it includes, without
// comments. A line is joined with the next one only where no comment may be, which
// would end it.
func (i image) sudoLines(syntax sudoSyntax, path string, seen map[string]bool) ([]sudoLine, error) {
	if seen[path] {
		return nil, nil
	}
	seen[path] = true
	data, err := i.readThrough(path)
	if err != nil {
		return nil, err
	}
	var lines []sudoLine
	begun := ""
	for text := range strings.Lines(string(data) + "\n\n") {
		text = strings.TrimRight(text, "\r\n")
		if more, goesOn := strings.CutSuffix(text, `\`); goesOn && !strings.Contains(text, "#") {
			begun += more
			continue
		}
		text, begun = strings.TrimSpace(begun+text), ""
		include := syntax.include.FindStringSubmatch(text)
		switch {
		case include != nil:
			files, err := i.sudoIncludes(path, include[1], include[2]+strings.ReplaceAll(include[3], `\`, ""))
			if err != nil {
				return nil, err
			}
			for _, file := range files {
				below, err := i.sudoLines(syntax, file, seen)
				if err != nil {
					return nil, err
				}
				lines = append(lines, below...)
			}
		case text != "" && !syntax.comment.MatchString(text):
			lines = append(lines, sudoLine{path, text})
		}
	}
	return lines, nil
}

// sudoIncludes returns the files of an "include" or "includedir" in the file at path.
func (i image) sudoIncludes(path, how, what string) ([]string, error) {
	if !filepath.IsAbs(what) {
		what = filepath.Join(filepath.Dir(path), what)
	}
	what = strings.ReplaceAll(filepath.Clean(what), "%h", "*") // the machine's name, which an image has not
	if how == "include" {
		return i.matches(what)
	}
	files, err := i.matches(what + "/*")
	return slices.DeleteFunc(files, func(file string) bool {
		name := filepath.Base(file)
		return strings.Contains(name, ".") || strings.HasSuffix(name, "~") // as packages leave them
	}), err
}

// readThrough reads a file, or what a link at its path leads to in the image.
func (i image) readThrough(path string) ([]byte, error) {
	for range 8 { // more would be a circle
		to, err := os.Readlink(filepath.Join(i.root, path))
		if err != nil {
			break // no link
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = filepath.Clean(to)
	}
	return i.read(path)
}
