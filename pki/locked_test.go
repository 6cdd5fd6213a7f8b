// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux && !noaws

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestReadsUnderTheLock has another writer change the folder while a command
// waits for the lock: what the command read before would undo the change, or
// publish what is no longer so.
func TestReadsUnderTheLock(t *testing.T) {
	need(t, "moto_server")
	t.Parallel()
	endpoint := startMoto(t)
	folder := t.TempDir()
	command(t, folder, "init", "office", "--server-name", "vpn.example.com")
	openQuickly(t, filepath.Join(folder, "office", "ca", "1", "ca.key"))
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
}

// whileItWaits starts a command, does something when it waits for the lock, and
// then lets it go on. It returns what the command says.
func whileItWaits(t *testing.T, office authority.Folder, endpoint string, do func(), args ...string) string {
	t.Helper()
	release, err := office.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "vpnami-pki", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse", "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=ap-northeast-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=none", "AWS_SHARED_CREDENTIALS_FILE=none")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(office.Path(), "lock")
	for !hasOpen(cmd.Process.Pid, lock) {
		if ctx.Err() != nil {
			t.Fatalf("%q never waits for the lock", args)
		}
		time.Sleep(time.Millisecond)
	}
	do()
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out.String())
	}
	return out.String()
}

// hasOpen tells whether a process has a file open.
func hasOpen(pid int, path string) bool {
	folder := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(folder)
	return err == nil && slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		target, err := os.Readlink(filepath.Join(folder, entry.Name()))
		return err == nil && target == path
	})
}
