// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDurableBeforeItIsSaid reads from the system calls of each command that
// what it wrote is on the disk before it gives it a name, and that all of it,
// names included, is there before it says a word on standard output and before it
// ends. A kill cannot show that; a power cut would.
func TestDurableBeforeItIsSaid(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	start, rolling := twoOffices(t)
	old := filepath.Join(t.TempDir(), "old")
	makeOldPKI(t, filepath.Join(old, "pki"))
	for name, c := range map[string]struct {
		from, args string
	}{
		"init":           {t.TempDir(), "init office"},
		"import-easyrsa": {old, "import-easyrsa pki --folder office --name office"},
		"issue":          {start, "issue client3 --folder office"},
		"issue two":      {start, "issue client3 client4 --folder office --out new"},
		"issue a folder": {start, "issue client3 --folder office --format tblk"},
		"renew":          {start, "renew client1 --folder office --out renewed --revoke-old"},
		"revoke":         {start, "revoke client1 --folder office"},
		"crl":            {start, "crl --folder office"},
		"roster":         {start, "roster set client1 --ip auto --folder office"},
		"renew-server":   {start, "renew-server --folder office"},
		"rollover start": {start, "rollover start --folder office"},
		"rollover end":   {rolling, "rollover end --folder office"},
		"migration":      {start, "migration open --cut --folder office"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := copyFolder(t, c.from)
			calls := filepath.Join(t.TempDir(), "calls")
			cmd := exec.CommandContext(t.Context(), "strace", append([]string{"-f", "-qq", "-y", "-s", "0", "-o", calls,
				"-e", "trace=write,pwrite64,fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat", "vpnami-pki"}, strings.Fields(c.args)...)...)
			cmd.Dir, cmd.Env = folder, append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			raw, err := os.ReadFile(calls)
			if err != nil {
				t.Fatal(err)
			}
			d := disk{t: t, folder: folder, content: map[string]int{}, names: map[string]int{}}
			d.read(string(raw))
			d.clean("it ends")
			if d.given == 0 || d.said == 0 {
				t.Errorf("%d names given, %d times said something: the calls are not seen", d.given, d.said)
			}
		})
	}
}

// disk is what a power cut would leave out: files whose content, and folders
// whose names, were changed in a call and not synced by one that began later.
type disk struct {
	t       *testing.T
	folder  string
	content map[string]int // by path, the number of the line
	names   map[string]int
	given   int // names
	said    int
}

func (d *disk) clean(when string) {
	d.t.Helper()
	for path := range d.content {
		d.t.Errorf("when %s, the content of %s is not on the disk", when, path)
	}
	for path := range d.names {
		d.t.Errorf("when %s, the names in %s are not on the disk", when, path)
	}
}

// before wants on the disk whatever a name makes count: a mark the folders that
// it names, a person their certificate and profile, and both what the log says.
func (d *disk) before(to string, line int) {
	for path := range d.content {
		if filepath.Dir(path) != filepath.Dir(to) {
			d.t.Errorf("line %d gives %s its name before the content of %s is on the disk", line, to, path)
		}
	}
	for path := range d.names {
		if path != filepath.Dir(to) {
			d.t.Errorf("line %d gives %s its name before the names in %s are on the disk", line, to, path)
		}
	}
}

// read goes through the log of strace. A call that others interleave is in two
// lines, of which the first says when it began.
func (d *disk) read(log string) {
	broken := regexp.MustCompile(`^(\d+) +(.*) <unfinished \.\.\.>$`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	whole := regexp.MustCompile(`^(\d+) +(\w+\(.*)$`)
	type begun struct {
		text string
		line int
	}
	pending := map[string]begun{}
	number := 0
	for line := range strings.Lines(log) {
		number++
		line = strings.TrimSuffix(line, "\n")
		if m := broken.FindStringSubmatch(line); m != nil {
			pending[m[1]] = begun{m[2], number}
		} else if m := resumed.FindStringSubmatch(line); m != nil {
			d.call(pending[m[1]].text+m[2], pending[m[1]].line, number)
		} else if m := whole.FindStringSubmatch(line); m != nil {
			d.call(m[2], number, number)
		}
	}
}

func (d *disk) call(text string, begun, ended int) {
	if regexp.MustCompile(`= -1 E\w+`).MatchString(text) {
		return
	}
	name, arguments, _ := strings.Cut(text, "(")
	var paths []string
	for _, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(arguments, -1) {
		path := m[1]
		if !filepath.IsAbs(path) {
			path = filepath.Join(d.folder, path)
		}
		paths = append(paths, path)
	}
	opened := ""
	if m := regexp.MustCompile(`^\d+<([^>]*)>`).FindStringSubmatch(arguments); m != nil {
		opened = m[1]
	}
	switch name {
	case "write", "pwrite64":
		if strings.HasPrefix(arguments, "1<") {
			d.said++
			d.clean(fmt.Sprintf("line %d says something", begun))
		} else if strings.HasPrefix(opened, d.folder+"/") && filepath.Base(opened) != "lock" { // who holds it ends with the power
			d.content[opened] = ended
		}
	case "fsync", "fdatasync":
		for _, dirty := range []map[string]int{d.content, d.names} {
			if at, is := dirty[opened]; is && at < begun {
				delete(dirty, opened)
			}
		}
	case "link", "linkat", "rename", "renameat", "renameat2":
		if len(paths) != 2 {
			d.t.Fatalf("line %d: two names are expected: %s", begun, text)
		}
		for path := range d.content {
			if path == paths[0] || strings.HasPrefix(path, paths[0]+"/") {
				d.t.Errorf("line %d gives %s a name before its content is on the disk", begun, path)
			}
		}
		for path, at := range d.names { // a folder takes what is open in it along
			if path == paths[0] || strings.HasPrefix(path, paths[0]+"/") {
				d.t.Errorf("line %d gives %s a name before the names in it are on the disk", begun, path)
				delete(d.names, path)
				d.names[paths[1]+strings.TrimPrefix(path, paths[0])] = at
			}
		}
		if to := paths[1]; strings.HasPrefix(to, d.folder+"/office/") && (filepath.Base(to) == "authority.json" || filepath.Base(filepath.Dir(to)) == "people") {
			d.before(to, begun)
		}
		d.given++
		d.names[filepath.Dir(paths[1])] = ended
	case "mkdir", "mkdirat":
		d.names[filepath.Dir(paths[0])] = ended
	}
}
