// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vpnami-pki": main, "vpnami-pki-on-one-thread": func() {
		runtime.LockOSThread() // strace counts the calls of each thread by itself
		main()
	}})
}

// need skips a test for want of a program, unless VPNAMI_REQUIRE=1 says that
// on this machine nothing may be skipped.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("VPNAMI_REQUIRE") == "1" {
		t.Fatalf("%s is not on PATH, and VPNAMI_REQUIRE=1 forbids to skip", program)
	}
	t.Skipf("SKIPPED: %s is not on PATH", program)
}

// TestDesk runs the transcripts that need nobody else.
func TestDesk(t *testing.T) {
	need(t, "openssl")
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "desk"),
		Setup: func(env *testscript.Env) error { env.Setenv("VPNAMI_PASSPHRASE", "correct horse"); return nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mode":      checkMode,
			"snapshot":  takeSnapshot,
			"unchanged": checkUnchanged,
		},
	})
}

// checkMode is "mode 0600 FILE...".
func checkMode(ts *testscript.TestScript, negated bool, args []string) {
	if len(args) < 2 || negated {
		ts.Fatalf("usage: mode MODE FILE...")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// takeSnapshot is "snapshot FOLDER NAME"; "unchanged FOLDER NAME" compares.
func takeSnapshot(ts *testscript.TestScript, negated bool, args []string) {
	if len(args) != 2 || negated {
		ts.Fatalf("usage: snapshot FOLDER NAME")
	}
	ts.Setenv("SNAPSHOT_"+args[1], snapshot(ts, args[0]))
}

func checkUnchanged(ts *testscript.TestScript, negated bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] unchanged FOLDER NAME")
	}
	before := ts.Getenv("SNAPSHOT_" + args[1])
	if before == "" {
		ts.Fatalf("there is no snapshot %q", args[1])
	}
	if same := before == snapshot(ts, args[0]); same == negated {
		ts.Fatalf("%s: unchanged is %v", args[0], same)
	}
}

func snapshot(ts *testscript.TestScript, folder string) string {
	var lines strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs(folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		fmt.Fprintf(&lines, "%s %x\n", path, sha256.Sum256(raw))
		return err
	}))
	return fmt.Sprintf("%x", sha256.Sum256([]byte(lines.String())))
}

// TestVerbsBearTheirNames compares what a command line is looked up by with what
// it is called.
func TestVerbsBearTheirNames(t *testing.T) {
	d := &desk{}
	for _, v := range d.verbs() {
		if name := v.command().Name(); name != v.name {
			t.Errorf("the verb %q is called %q", v.name, name)
		}
		alone := d.command([]string{v.name}).Commands()
		if len(alone) != 1 || alone[0].Name() != v.name {
			t.Errorf("%q alone makes %d verbs", v.name, len(alone))
		}
	}
	for _, args := range [][]string{nil, {"help", "issue"}, {"--help"}, {"nonsense"}} {
		all := slices.DeleteFunc(d.command(args).Commands(), func(c *cobra.Command) bool { return c.Name() == "help" })
		if len(all) != len(d.verbs()) {
			t.Errorf("%q makes %d verbs of %d", args, len(all), len(d.verbs()))
		}
	}
}
