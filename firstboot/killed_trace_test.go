// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// writing are the calls with which Go's standard library changes a disk.
var writing = []string{"write", "pwrite64", "fsync", "fdatasync", "ftruncate", "fchmod", "fchmodat", "fchown", "fchownat", "mkdirat", "symlinkat", "linkat", "renameat", "renameat2", "unlinkat", "openat"}

// call is one of them, the n-th of its kind, with the paths that it names.
type call struct {
	name     string
	n        int
	paths    []string
	returned string
}

var (
	tracedCall = regexp.MustCompile(`^([a-z0-9]+)\((.*)\)\s+= (-?\d+)`)
	tracedPath = regexp.MustCompile(`"([^"]*)"|\d<([^>]*)>`)
)

// readTrace returns the calls that change something under the machine's root.
// That a file is opened for reading changes nothing.
func (g *gateway) readTrace(path string) []call {
	g.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	seen := map[string]int{}
	var calls []call
	for line := range strings.Lines(string(text)) {
		found := tracedCall.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		c := call{name: found[1], returned: found[3]}
		seen[c.name]++
		c.n = seen[c.name]
		for _, names := range tracedPath.FindAllStringSubmatch(found[2], -1) {
			if name := names[1] + names[2]; strings.HasPrefix(name, g.machine.layout.root) {
				c.paths = append(c.paths, name)
			}
		}
		if len(c.paths) == 0 || c.name == "openat" && !strings.Contains(found[2], "O_CREAT") && !strings.Contains(found[2], "O_WRONLY") {
			continue
		}
		calls = append(calls, c)
	}
	return calls
}

// durable: before something is given a name that counts, all of it is synced, and
// the folder of the name is synced before the next, and before the end.
func durable(t *testing.T, calls []call) {
	t.Helper()
	dirty := map[string]bool{}   // files that were written to since they were synced
	unnamed := map[string]bool{} // folders with names that are not synced
	renames := 0
	under := func(of map[string]bool, path string) string {
		for name := range of {
			if name == path || strings.HasPrefix(name, path+"/") {
				return name
			}
		}
		return ""
	}
	for _, c := range calls {
		switch c.name {
		case "write", "pwrite64", "ftruncate":
			// An empty file has nothing to lose but its name.
			if c.returned != "0" || c.name == "ftruncate" {
				dirty[c.paths[0]] = true
			}
		case "openat", "mkdirat", "symlinkat":
			unnamed[filepath.Dir(c.paths[len(c.paths)-1])] = true
		case "fsync", "fdatasync":
			delete(dirty, c.paths[0])
			delete(unnamed, c.paths[0])
		case "renameat", "renameat2", "linkat":
			from, to := c.paths[0], c.paths[1]
			renames++
			if name := under(dirty, from); name != "" {
				t.Errorf("%s is given the name %s before %s is synced", from, to, name)
			}
			if name := under(unnamed, from); name != "" {
				t.Errorf("%s is given the name %s before the folder %s is synced", from, to, name)
			}
			// A temporary file beside it is nobody's yet.
			if name := under(unnamed, filepath.Dir(to)); name != "" && name != filepath.Dir(from) {
				t.Errorf("%s is given its name before the folder %s is synced", to, name)
			}
			unnamed[filepath.Dir(to)] = true
		}
	}
	for name := range unnamed {
		// The console is a device.
		if filepath.Base(name) != "dev" {
			t.Errorf("at the end the folder %s is not synced", name)
		}
	}
	if renames < 3 {
		t.Errorf("%d names were given: they are not seen", renames)
	}
}
