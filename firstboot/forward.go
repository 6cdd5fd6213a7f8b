// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// forwards refuses a kernel that forwards nothing: the tunnel would stand, whoever
// is behind it would be out of reach, and SSH would be closed. The proving client
// does not show it, since it is let in and no further.
func forwards(where layout) error {
	// In this order, so that the same fault always has the same cause.
	const machine, tunnel = "all", "tun0"
	for _, device := range []string{machine, tunnel} {
		path := where.forwarding(device)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && device == tunnel {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking whether the kernel forwards: %w", err)
		}
		if said := strings.TrimSpace(string(text)); said != "1" {
			return refusing(fmt.Errorf("looking whether the kernel forwards: %q says %q, which must be 1: nobody would be reached through the tunnel", path, said),
				"say \"systemctl restart systemd-sysctl\"; if it stays, \"systemd-analyze cat-config sysctl.d\" shows what sets it otherwise than 90-vpnami.conf")
		}
	}
	return nil
}
