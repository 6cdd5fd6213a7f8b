// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAdvised(t *testing.T) {
	const room, archive = `beside output_directory "out" there are`, "is the archive reachable"
	for _, tt := range []struct {
		name, said string
		err        error
		free       uint64
		want       string
	}{
		{"our own write", "", fmt.Errorf("writing root.tar: %w", unix.ENOSPC), 1 << 40, room},
		{"dpkg's second line", "dpkg: error processing archive x.deb (--unpack):\n failed to write (No space left on device)", errors.New("exit status 25"), 1 << 40, room},
		{"apt, before it begins", "E: You don't have enough free space in /var/cache/apt/archives/.", errors.New("exit status 25"), 1 << 40, room},
		{"a program that does not say why", "", errors.New("exit status 1"), 3 << 20, room + " 3 MiB left"},
		{"an archive that is away", "E: Failed to fetch http://127.0.0.1:1/x  Could not connect to 127.0.0.1:1", errors.New("exit status 25"), 1 << 40, archive},
		{"an archive that changed", "E: Failed to fetch x  File has unexpected size (1 != 2). Mirror sync in progress?", errors.New("exit status 25"), 1 << 40, archive},
		{"a provisioner's apt", "", errors.New("installing packages on the guest: exit status 100: E: Unable to fetch some archives, maybe run apt-get update"), 1 << 40, archive},
		{"a full disk comes first", "E: Failed to fetch x", errors.New("exit status 25"), 1, room},
		{"a script that is wrong", "x.postinst: 3: nonsense: not found", errors.New("exit status 25"), 1 << 40, ""},
	} {
		err := advised(tt.err, tt.said, tt.free, "out")
		if !errors.Is(err, tt.err) || tt.want != "" && !strings.Contains(err.Error(), tt.want) || tt.want == "" && err.Error() != tt.err.Error() {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}
