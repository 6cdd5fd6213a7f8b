// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestKilledAtEveryWrite kills each command that changes an authority before
// its first call of each kind that changes a file, before its second, and so on
// until it gets through. After every kill the folder opens, says nothing that is not so,
// and the same command, given again, brings it to its end and leaves nothing
// behind.
func TestKilledAtEveryWrite(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	start, rolling := twoOffices(t)
	empty := t.TempDir()

	for _, c := range []struct {
		name string
		from string
		args []string
		// done are the words with which the command, given again, says that it
		// was through already.
		done string
	}{
		{"init", empty, []string{"init", "office"}, "it is there and not empty"},
		{"issue", start, []string{"issue", "client3", "--folder", "office"}, `"client3.ovpn" is there|the name "client3" is taken`},
		{"issue folders", start, []string{"issue", "client3", "client4", "--folder", "office", "--format", "files"}, `"client3" is there|"client4" is there|the name "client3" is taken|the name "client4" is taken`},
		{"renew", start, []string{"renew", "client1", "--folder", "office", "--out", "renewed", "--revoke-old"}, "is there: it is not overwritten|lacks what log.jsonl has"},
		{"revoke", start, []string{"revoke", "client1", "--folder", "office"}, "all of their certificates are revoked already"},
		{"crl", start, []string{"crl", "--folder", "office"}, ""},
		{"roster", start, []string{"roster", "set", "client1", "--ip", "auto", "--folder", "office"}, ""},
		{"renew-server", start, []string{"renew-server", "--folder", "office"}, ""},
		{"rollover start", start, []string{"rollover", "start", "--folder", "office"}, "one is under way"},
		{"rollover end", rolling, []string{"rollover", "end", "--folder", "office"}, "none is under way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for _, call := range []string{"write", "fsync", "fchmod", "renameat", "renameat2", "unlinkat", "mkdirat", "ftruncate"} {
				for n, who := 1, everyThread; ; n++ {
					folder := copyFolder(t, c.from)
					if !killedAt(t, folder, call, n, who, c.args) {
						if who == mainThread || !slices.Contains([]string{"fsync", "renameat", "renameat2"}, call) {
							break
						}
						n, who = 0, mainThread
						continue
					}
					kills++
					where := fmt.Sprintf("killed at %s %d of %s", call, n, who)
					checkWhole(t, folder, where)
					aDayLater(t, filepath.Join(folder, "office"))
					again := exec.CommandContext(t.Context(), "vpnami-pki", c.args...)
					again.Dir, again.Env = folder, append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse")
					out, err := again.CombinedOutput()
					if err != nil && bytes.Contains(out, []byte("so it connects nowhere: remove it")) {
						removeProfiles(t, folder)
						command(t, folder, c.args...)
						err = nil
					}
					if err != nil && !saysOneOf(out, c.done) {
						t.Fatalf("%s, then given again: %v\n%s", where, err, out)
					}
					// The next command that writes has swept.
					command(t, folder, "crl", "--folder", "office")
					checkWhole(t, folder, where)
					checkSwept(t, filepath.Join(folder, "office"), where)
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

// TestRevocationKilledBetweenTwoCAs kills it where the list of the first CA is to be put
// in place: what "crl" does then leaves the certificate of the second in force, and the
// way that is told takes it back too.
func TestRevocationKilledBetweenTwoCAs(t *testing.T) {
	need(t, "strace")
	t.Parallel()
	_, folder := twoOffices(t)
	if !killedAt(t, folder, "renameat", 2, everyThread, []string{"revoke", "client1", "--folder", "office"}) {
		t.Fatal("it gets through")
	}
	cmd := exec.CommandContext(t.Context(), "vpnami-pki", "check", "--folder", "office")
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte(`sign it with "vpnami-pki crl", and give the revocation again, if one was broken off`)) {
		t.Errorf("%v, %s", err, out)
	}
	live := func() int {
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
	command(t, folder, "crl", "--folder", "office")
	if n := live(); n != 1 {
		t.Errorf("%d certificates in force: is the kill between the two?", n)
	}
	command(t, folder, "revoke", "client1", "--folder", "office")
	if n := live(); n != 0 {
		t.Errorf("%d certificates in force", n)
	}
	command(t, folder, "check", "--folder", "office")
}

// aDayLater makes the numbered folders so old that what lacks something is taken for
// what it is.
func aDayLater(t *testing.T, office string) {
	t.Helper()
	at := time.Now().Add(-25 * time.Hour)
	for _, pattern := range []string{"ca/*", "server/*"} {
		folders, err := filepath.Glob(filepath.Join(office, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range folders {
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// removeProfiles removes those that the commands make.
func removeProfiles(t *testing.T, folder string) {
	t.Helper()
	for _, name := range []string{"client3.ovpn", "client3", "client4", "renewed"} {
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func saysOneOf(out []byte, words string) bool {
	for word := range strings.SplitSeq(words, "|") {
		if word != "" && bytes.Contains(out, []byte(word)) {
			return true
		}
	}
	return false
}

// threads are those of which one is killed.
type threads string

const (
	everyThread threads = "every thread"
	mainThread  threads = "the main thread"
)

// killedAt runs a command that is killed at the n-th system call of a kind that
// a thread of it makes; false means that none made so many.
func killedAt(t *testing.T, folder, call string, n int, who threads, args []string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	follow := []string{"-f"}
	if who == mainThread {
		follow = nil
	}
	cmd := exec.CommandContext(ctx, "strace", append(append(follow, "-qq", "-o", filepath.Join(t.TempDir(), "calls"),
		"-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n), "vpnami-pki-on-one-thread"), args...)...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && (status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL)) {
			return true
		}
	}
	t.Fatalf("killing at %s %d: %v\n%s", call, n, err, out)
	return false
}

// checkSwept looks in an authority for what a broken-off command left:
// temporary files, and keys that are not in force. What it left outside is swept
// once it is old: testdata/desk/swept.txtar.
func checkSwept(t *testing.T, folder, where string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(entry.Name(), ".tmp") {
			t.Errorf("%s: %q is left", where, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	servers, err := os.ReadDir(filepath.Join(folder, "server"))
	if err != nil || len(servers) != 1 {
		t.Errorf("%s: %d sets of the gateway's keys, %v", where, len(servers), err)
	}
}
