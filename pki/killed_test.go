// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// killed is a command that is killed, or whose calls fail, again and again.
type killed struct {
	name string
	from string
	args string
	// done are the words with which the command, given again, says that it
	// was through already.
	done string
	next func(n int) int // the call after the n-th
}

func oneByOne(n int) int { return n + 1 }

// doubling is for what makes some hundred calls.
func doubling(n int) int { return max(1, 2*n) }

// TestKilledAtEveryWrite kills each command that changes an authority before
// its first call of each kind that changes a file, before its second, and so on
// until it gets through. After every kill the folder opens, says nothing that is not so,
// and the same command, given again, brings it to its end and leaves nothing
// behind. Of publish: [TestPublishKilledAtEveryWrite].
func TestKilledAtEveryWrite(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	start, rolling := twoOffices(t)
	empty := t.TempDir()
	old := filepath.Join(t.TempDir(), "old")
	makeOldPKI(t, filepath.Join(old, "pki"))
	open := copyFolder(t, start)
	command(t, open, "migration", "open", "--cut", "--folder", "office")
	many := copyFolder(t, start)
	writeNames(t, filepath.Join(many, "people.csv"), atOnce+1)

	const issued = `"client3.ovpn" is there|"client3.p12" is there|"client3.tblk" is there|"client3" is there|"client4" is there|the name "client3" is taken|the name "client4" is taken`
	for _, c := range []killed{
		{"init", empty, "init office", "it is there and not empty", oneByOne},
		{"import-easyrsa", old, "import-easyrsa pki --folder office --name office", "it is there and not empty", oneByOne},
		{"issue", start, "issue client3 --folder office", issued, oneByOne},
		{"issue folders", start, "issue client3 client4 --folder office --format files", issued, oneByOne},
		{"issue tblk", start, "issue client3 --folder office --format tblk", issued, oneByOne},
		{"issue p12", start, "issue client3 --folder office --format p12", issued, oneByOne},
		{"issue many", many, "issue --from people.csv --folder office --out renewed", `the name "p[0-9]+" is taken`, doubling},
		{"renew", start, "renew client1 --folder office --out renewed --revoke-old", "is there: it is not overwritten|lacks what log.jsonl has", oneByOne},
		{"revoke", start, "revoke client1 --folder office", "all of their certificates are revoked already", oneByOne},
		{"revoke foreign", rolling, "revoke --serial 77 --foreign --folder office", "it was revoked on", oneByOne},
		{"crl", start, "crl --folder office", "^$", oneByOne},
		{"roster", start, "roster set client1 --ip auto --folder office", "^$", oneByOne},
		{"renew-server", start, "renew-server --folder office", "^$", oneByOne},
		{"rollover start", start, "rollover start --folder office", "one is under way", oneByOne},
		{"rollover end", rolling, "rollover end --folder office", "none is under way", oneByOne},
		{"migration open", start, "migration open --cut --folder office", "it is open already", oneByOne},
		{"migration close", open, "migration close --cut --folder office", "it is closed already", oneByOne},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for at := range calls("write", "fsync", "fchmod", "renameat", "renameat2", "unlinkat", "mkdirat", "ftruncate") {
				for at.n = c.next(0); ; at.n = c.next(at.n) {
					folder := copyFolder(t, c.from)
					if !killedAt(t, folder, at, c.args) {
						break
					}
					kills++
					c.killed(t, folder, "killed at "+at.String())
					if t.Failed() {
						t.FailNow()
					}
				}
			}
			t.Logf("killed at %d calls", kills)
			if kills < 5 {
				t.Errorf("%d kills: the calls are not seen", kills)
			}
		})
	}
}

// killed looks at what a kill left, and at what the command does then.
func (c killed) killed(t *testing.T, folder, where string) {
	t.Helper()
	checkWhole(t, folder, where)
	checkTold(t, c.from, folder, where)
	out, err := tried(t, folder, c.args)
	if err != nil && regexp.MustCompile("(it|them) away, and give the command again|those away before").Match(out) {
		removeProfiles(t, folder)
		out, err = tried(t, folder, c.args)
	}
	if err != nil && !regexp.MustCompile(c.done).Match(out) {
		t.Fatalf("%s, then given again: %v\n%s", where, err, out)
	}
	// The next command that writes has swept.
	command(t, folder, "crl", "--folder", "office")
	checkWhole(t, folder, where)
	checkSwept(t, folder, where)
}

// TestFailedAtEveryWrite is of commands that put another authority.json in force, at each
// call of which the disk fails in turn: nothing has changed then, and the log says so.
func TestFailedAtEveryWrite(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	start, rolling := twoOffices(t)
	for _, c := range []killed{
		{"renew-server", start, "renew-server --folder office", "", oneByOne},
		{"rollover start", start, "rollover start --folder office", "", oneByOne},
		{"rollover end", rolling, "rollover end --folder office", "", oneByOne},
		{"migration", start, "migration open --cut --folder office", "", oneByOne},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := filesIn(t, c.from)
			failures := 0
			for at := range calls("fsync", "fchmod", "renameat", "renameat2", "mkdirat") {
				for at.n = c.next(0); ; at.n = c.next(at.n) {
					folder := copyFolder(t, c.from)
					out, err := traced(t, folder, at, "error=EIO", c.args)
					if err == nil {
						break
					}
					failures++
					where := "failed at " + at.String()
					checkWhole(t, folder, where)
					if bytes.Contains(out, []byte("it is done all the same")) {
						continue
					}
					if diff := cmp.Diff(before, filesIn(t, folder)); diff != "" || !bytes.Contains(out, []byte("input/output error")) {
						t.Errorf("%s: it changed\n%s\n%s", where, diff, out)
					}
					checkTakenBack(t, c.from, folder, where)
					command(t, folder, strings.Fields(c.args)...)
				}
			}
			if failures < 5 {
				t.Errorf("%d failures: the calls are not seen", failures)
			}
		})
	}
}

// TestImportKilledIsLogged: what the CA had signed for a gateway where a kill left it is in
// the log of the authority that the same command, given again at once, makes.
func TestImportKilledIsLogged(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	folder := t.TempDir()
	makeOldPKI(t, filepath.Join(folder, "pki"))
	const take = "import-easyrsa pki --folder office --name office"
	if !killedAt(t, folder, call{"renameat", 1, everyThread}, take) {
		t.Fatal("it gets through")
	}
	left, err := filepath.Glob(filepath.Join(folder, ".office.*.tmp", "server", "1", "server.crt"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left is %q, %v", left, err)
	}
	text, err := os.ReadFile(left[0])
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := bundle.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tried(t, folder, take); err != nil || !bytes.Contains(out, []byte("which a broken-off command had left; there were keys in it")) {
		t.Errorf("%v, %s", err, out)
	}
	log, err := os.ReadFile(filepath.Join(folder, "office", "log.jsonl"))
	if want := fmt.Sprintf(`"issue-server-failed","name":"vpn.example.com","serial":"%s","sha256":"%x"`, certificates[0].SerialNumber, sha256.Sum256(certificates[0].Raw)); err != nil || !bytes.Contains(log, []byte(want)) {
		t.Errorf("the log has no %s: %s, %v", want, log, err)
	}
}

// TestRevocationKilledBetweenTwoCAs kills it where the list of the first CA is to be put
// in place: what "crl" does then takes the certificate of the second back too.
func TestRevocationKilledBetweenTwoCAs(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	_, folder := twoOffices(t)
	if !killedAt(t, folder, call{"renameat", 2, everyThread}, "revoke client1 --folder office") {
		t.Fatal("it gets through")
	}
	cmd := exec.CommandContext(t.Context(), "vpnami-pki", "check", "--folder", "office")
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte(`sign it with "vpnami-pki crl"`)) {
		t.Errorf("%v, %s", err, out)
	}
	if n := live(t, folder); n != 1 {
		t.Errorf("%d certificates in force: is the kill between the two?", n)
	}
	command(t, folder, "crl", "--folder", "office")
	if n := live(t, folder); n != 0 {
		t.Errorf("%d certificates in force", n)
	}
	command(t, folder, "check", "--folder", "office")
}

// live is how many certificates of client1 are in force.
func live(t *testing.T, folder string) int {
	t.Helper()
	office, err := authority.Open(filepath.Join(folder, "office"))
	if err != nil {
		t.Fatal(err)
	}
	standing, err := office.Standing(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := office.Person("client1")
	if err != nil {
		t.Fatal(err)
	}
	return len(standing.Live(p))
}

// TestKilledRevocationIsNoSurprise kills it before each call that changes a file: either
// nothing is to be done about it, and nothing that is done later makes it come true, or
// whoever revokes somebody else is told of it.
func TestKilledRevocationIsNoSurprise(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	start, _ := twoOffices(t)
	outcomes := map[string]int{}
	for _, name := range []string{"write", "fsync", "renameat"} {
		for n := 1; ; n++ {
			folder, at := copyFolder(t, start), call{name, n, everyThread}
			if !killedAt(t, folder, at, "revoke client1 --folder office") {
				break
			}
			_, noticed := tried(t, folder, "check --folder office")
			if live(t, folder) == 0 {
				outcomes["revoked"]++
				continue
			}
			// A list that was logged and not put in place is what has the log read.
			if !killedAt(t, folder, call{"renameat", 1, everyThread}, "crl --folder office") {
				t.Fatal("\"crl\" gets through")
			}
			said, err := tried(t, folder, "revoke client2 --folder office")
			told, out := bytes.Contains(said, []byte("client1 serial ")), live(t, folder) == 0
			switch {
			case err != nil || told != out:
				t.Errorf("killed at %s: client1 is out: %v; %v\n%s", at, out, err, said)
			case out:
				outcomes["told"]++
			default:
				outcomes["none"]++
			}
			if out && noticed == nil {
				t.Errorf("killed at %s: check has not noticed what comes true later", at)
			}
		}
	}
	if len(outcomes) != 3 {
		t.Errorf("not all happens: %v", outcomes)
	}
}

// removeProfiles removes those that the commands make.
func removeProfiles(t *testing.T, folder string) {
	t.Helper()
	for _, name := range []string{"client3.ovpn", "client3.p12", "client3.tblk", "client3", "client4", "renewed"} {
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// tried is a command that may fail.
func tried(t *testing.T, folder, args string, env ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vpnami-pki", strings.Fields(args)...)
	cmd.Dir, cmd.Env = folder, append(append(os.Environ(), quickly()...), env...)
	return cmd.CombinedOutput()
}

// threads are those of which one is killed.
type threads string

const (
	everyThread threads = "every thread"
	mainThread  threads = "the main thread"
)

// call is the n-th system call of a kind that a thread makes.
type call struct {
	kind string
	n    int
	who  threads
}

func (c call) String() string { return fmt.Sprintf("%s %d of %s", c.kind, c.n, c.who) }

// calls are of each kind those of every thread and, where several threads make them, those
// of the main one too: strace counts them for each thread by itself.
func calls(kinds ...string) iter.Seq[call] {
	return func(yield func(call) bool) {
		for _, kind := range kinds {
			if !yield(call{kind: kind, who: everyThread}) {
				return
			}
			if slices.Contains([]string{"fsync", "renameat", "renameat2"}, kind) && !yield(call{kind: kind, who: mainThread}) {
				return
			}
		}
	}
}

// killedAt runs a command that is killed at a call; false means that none made so many.
func killedAt(t *testing.T, folder string, at call, args string, env ...string) bool {
	t.Helper()
	out, err := traced(t, folder, at, "signal=SIGKILL", args, env...)
	if err == nil {
		return false
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && (status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL)) {
			return true
		}
	}
	t.Fatalf("killing at %s: %v\n%s", at, err, out)
	return false
}

// traced runs a command to which something is done at a call.
func traced(t *testing.T, folder string, at call, injected, args string, env ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	follow := []string{"-f"}
	if at.who == mainThread {
		follow = nil
	}
	cmd := exec.CommandContext(ctx, "strace", append(append(follow, "-qq", "-o", filepath.Join(t.TempDir(), "calls"),
		"-e", "trace="+at.kind, "-e", fmt.Sprintf("inject=%s:%s:when=%d", at.kind, injected, at.n), "vpnami-pki-on-one-thread"), strings.Fields(args)...)...)
	cmd.Dir, cmd.Env = folder, append(append(os.Environ(), quickly()...), env...)
	return cmd.CombinedOutput()
}

// checkSwept looks in an authority for what a broken-off command left:
// temporary files, and keys that are not in force; and beside it for another that was
// being made. What there is of profiles is swept once it is old:
// testdata/desk/swept.txtar.
func checkSwept(t *testing.T, folder, where string) {
	t.Helper()
	office := filepath.Join(folder, "office")
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		// Without keys, with its lock alone, it goes once it is old.
		beside := strings.HasPrefix(path, filepath.Join(folder, ".office.")) && !entry.IsDir() && entry.Name() != "lock"
		ours := beside || strings.HasPrefix(path, office)
		if err == nil && ours && strings.Contains(path, ".tmp") {
			t.Errorf("%s: %q is left", where, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	servers, err := os.ReadDir(filepath.Join(office, "server"))
	if err != nil || len(servers) != 1 {
		t.Errorf("%s: %d sets of the gateway's keys, %v", where, len(servers), err)
	}
}
