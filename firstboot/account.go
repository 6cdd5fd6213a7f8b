// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
