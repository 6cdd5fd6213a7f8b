// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package bootstrap

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Elsewhere than on Linux the plugin provisions, and this builder refuses before it
// comes to any of these (host.check).

func ownNamespaces() *syscall.SysProcAttr { return nil }

func renameToNew(_, _ string) error { return unix.ENOSYS }

func exchange(_, _ string) error { return unix.ENOSYS }
