// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux && !noaws

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestReadsUnderTheLock has another writer change the folder while a command
// waits for the lock: what the command read before would undo the change, or
// publish what is no longer so.
func TestReadsUnderTheLock(t *testing.T) {
	endpoint, folder := quickOffice(t)
	command(t, folder, "issue", "client1", "client2", "--folder", "office")
	office, err := authority.Open(filepath.Join(folder, "office"))
	if err != nil {
		t.Fatal(err)
	}
	change := func(edit func(*authority.Person)) func() {
		return func() {
			person, _, err := office.Person("client1")
			if err != nil {
				t.Fatal(err)
			}
			edit(&person)
			if err := office.Change(time.Now(), person); err != nil {
				t.Fatal(err)
			}
		}
	}

	whileItWaits(t, office, endpoint, change(func(p *authority.Person) { p.Groups = []string{"ops"} }),
		"roster", "set", "client1", "--note", "Tokyo", "--folder", office.Path())
	person, _, err := office.Person("client1")
	if err != nil || len(person.Groups) != 1 || person.Note != "Tokyo" {
		t.Errorf("of two changes there are groups %q, note %q; %v", person.Groups, person.Note, err)
	}

	out := whileItWaits(t, office, endpoint, func() {
		if err := os.Remove(filepath.Join(office.Path(), "people", "client2.json")); err != nil {
			t.Fatal(err)
		}
	}, "publish", "--dry-run", "--secret", "locked/office", "--folder", office.Path())
	if !strings.Contains(out, "added    client1\n") {
		t.Errorf("it publishes whom another took out:\n%s", out)
	}

	issuers, err := office.UnlockThose(authority.Keys{Passphrase: []byte("correct horse")}, time.Now(), office.Places())
	if err != nil {
		t.Fatal(err)
	}
	whileItWaits(t, office, endpoint, func() {
		if _, err := office.RenewServer(issuers); err != nil {
			t.Fatal(err)
		}
	}, "migration", "open", "--cut", "--folder", office.Path())
	moved, err := authority.Open(office.Path())
	if err != nil || !moved.Migrating() {
		t.Errorf("the window is not open: %v", err)
	}
	before, err := office.Server()
	if err != nil {
		t.Fatal(err)
	}
	if after, err := moved.Server(); err != nil || after.Certificate.Equal(before.Certificate) {
		t.Errorf("the gateway's certificate is that before another made a new one: %v", err)
	}
}

// TestLeftBehindIsToldUnderTheLock has another command at work whose profile is there and
// whose person is not yet in the roster: nobody is told to remove that profile.
func TestLeftBehindIsToldUnderTheLock(t *testing.T) {
	endpoint, folder := quickOffice(t)
	command(t, folder, "issue", "client1", "--folder", "office")
	office, err := authority.Open(filepath.Join(folder, "office"))
	if err != nil {
		t.Fatal(err)
	}
	member, elsewhere := filepath.Join(office.Path(), "people", "client1.json"), filepath.Join(folder, "client1.json")
	if err := os.Rename(member, elsewhere); err != nil {
		t.Fatal(err)
	}
	again := []string{"issue", "client1", "--folder", office.Path(), "--out", folder}
	out, err := endOfWaiting(t, office, endpoint, func() {
		if err := os.Rename(elsewhere, member); err != nil {
			t.Fatal(err)
		}
	}, again...)
	if err == nil || !strings.Contains(out, `the name "client1" is taken`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// whileItWaits starts a command, does something when it waits for the lock, and
// then lets it go on. It returns what the command says.
func whileItWaits(t *testing.T, office authority.Folder, endpoint string, do func(), args ...string) string {
	t.Helper()
	out, err := endOfWaiting(t, office, endpoint, do, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// endOfWaiting is [whileItWaits] of a command that may fail.
func endOfWaiting(t *testing.T, office authority.Folder, endpoint string, do func(), args ...string) (string, error) {
	t.Helper()
	_, release, err := office.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "vpnami-pki", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = besideAWS(endpoint)
	opened := watchOpened(t, filepath.Join(office.Path(), "lock"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitOpened(t, opened)
	do()
	if err := release(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	return out.String(), err
}

// watchOpened has the kernel note when somebody opens a file: whoever waits for the
// lock has it open for some microseconds at each try.
func watchOpened(t *testing.T, path string) (notes int) {
	t.Helper()
	notes, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(notes) })
	if _, err := unix.InotifyAddWatch(notes, path, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return notes
}

func awaitOpened(t *testing.T, notes int) {
	t.Helper()
	const within = 20 * time.Second
	poll := []unix.PollFd{{Fd: int32(notes), Events: unix.POLLIN}}
	for end := time.Now().Add(within); time.Now().Before(end); {
		if n, err := unix.Poll(poll, int(within.Milliseconds())); err == nil && n == 1 {
			return
		} else if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
	t.Fatalf("nobody asked for the lock within %s", within)
}
