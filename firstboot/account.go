// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// account is the daemon's user and group.
type account struct{ uid, gid int }

// findAccount looks a user up in a passwd file. os/user would read the file of
// the running machine, whatever the root.
func findAccount(passwd, name string) (account, error) {
	data, err := os.ReadFile(passwd)
	if err != nil {
		return account{}, fmt.Errorf("looking up user %q: %w", name, err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 4 || fields[0] != name {
			continue
		}
		uid, err1 := strconv.Atoi(fields[2])
		gid, err2 := strconv.Atoi(fields[3])
		if err := errors.Join(err1, err2); err != nil {
			return account{}, fmt.Errorf("looking up user %q in %q: %w", name, passwd, err)
		}
		return account{uid, gid}, nil
	}
	return account{}, fmt.Errorf("looking up user %q: %q does not name it: the image is not whole (sysusers.d/vpnami.conf)", name, passwd)
}

// checkReadable opens every file that the daemon reads per client, with the
// rights of the daemon's user: OpenVPN admits a revoked client without a word
// when it cannot read the file that says so.
func checkReadable(ctx context.Context, folder string, as account) error {
	done := make(chan error, 1)
	go func() {
		// The thread takes on another user for its file accesses and is given
		// up with the goroutine: it is never unlocked.
		runtime.LockOSThread()
		done <- readAs(folder, as)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reading as the daemon's user: %w", ctx.Err())
	}
}

func readAs(folder string, as account) error {
	if os.Geteuid() == 0 {
		// As raw system calls, because these hold for this thread alone;
		// package syscall's wrappers change every thread.
		gid := uint32(as.gid) //nolint:gosec // from the passwd file
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return fmt.Errorf("becoming the daemon's user: %w", errno)
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(as.uid), 0, 0)
		// The two calls return the old value and no error: asked again with a
		// value that does not exist, they tell what was set.
		if now, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0); int32(now) != int32(as.uid) { //nolint:gosec // as above
			return fmt.Errorf("becoming the daemon's user: the kernel keeps %d", int32(now)) //nolint:gosec // as above
		}
	}
	// Where an older vpnami-firstboot wrote the folder, it is not there, and the
	// hook refuses whom it would name.
	if err := readOne(filepath.Join(folder, boundFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{"revoked", "ccd", "serials"} {
		path := filepath.Join(folder, name)
		entries, err := os.ReadDir(path)
		if err != nil {
			return fmt.Errorf("reading as the daemon's user: %w", err)
		}
		for _, entry := range entries {
			if err := readOne(filepath.Join(path, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func readOne(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading as the daemon's user: %w", err)
	}
	_, err = file.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("reading as the daemon's user: %w", err)
	}
	return nil
}
