// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What gives a program's caller more rights than she has: bits of its mode, and
// capabilities, which no listing shows.

// mayRaise are the programs that need to give their callers more rights, in the
// images of Debian and Ubuntu; /bin and /sbin are links there. The bake takes the
// bits of all others (plugin/provisioner/scripts/harden.sh).
func mayRaise() []string {
	return []string{
		"sudo", "sudo.ws", "passwd", // the way to root; a password for those whose owner wants one
		"unix_chkpwd", "pam_extrausers_chkpwd", "chage", "expiry", // read the shadow file, by group
		"ssh-agent",                                                                  // by group, so that nobody traces it
		"dbus-daemon-launch-helper",                                                  // for its own group only
		"polkit-agent-helper-1", "pkexec", "snap-confine", "fusermount3", "utempter", // Ubuntu
		"crontab", // by group
	}
}

// mayHave are the programs with capabilities, and which. harden.sh takes those of
// all others.
func mayHave() map[string]uint64 {
	const raw = 1 << unix.CAP_NET_RAW
	return map[string]uint64{
		"ping": raw, "arping": raw, "mtr-packet": raw, // they make packets of their own
		"gst-ptp-helper": 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_NICE,
		"snap-confine":   math.MaxUint64, // Ubuntu's newer snapd has them in place of setuid
	}
}

// raises tells of a program whose mode gives its caller more rights.
func (f imageFile) raises() bool {
	return f.info.Mode().IsRegular() && f.info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0
}

// distribution tells whether a path is where the distribution's programs are.
func distribution(path string) bool {
	return strings.HasPrefix(path, "usr/") && !strings.HasPrefix(path, "usr/local/")
}

func (f imageFile) mayRaise() bool {
	return distribution(f.path) && slices.Contains(mayRaise(), filepath.Base(f.path))
}

func (i image) setuid() ([]string, error) {
	return i.those(func(f imageFile) bool { return f.raises() && !f.mayRaise() })
}

// foreignSetuid finds programs that have no more than the name of one that may.
func (i image) foreignSetuid() ([]string, error) {
	var named []imageFile
	for _, f := range i.files {
		if f.raises() && f.mayRaise() {
			named = append(named, f)
		}
	}
	return i.foreign(named)
}

// capabilities finds files with capabilities: those that should have none, or not
// these, and those that have no more than the name of one that may.
func (i image) capabilities() ([]string, error) {
	var found []string
	var named []imageFile
	for _, f := range i.files {
		if !f.info.Mode().IsRegular() {
			continue
		}
		has, err := capabilitiesOf(filepath.Join(i.root, f.path))
		if err != nil {
			return nil, err
		}
		switch may := mayHave()[filepath.Base(f.path)]; {
		case has == 0:
		case distribution(f.path) && has&^may == 0:
			named = append(named, f)
		default:
			found = append(found, "/"+f.path)
		}
	}
	foreign, err := i.foreign(named)
	return append(found, foreign...), err
}

// capabilitiesOf returns what a file may give its caller, or its caller may keep
// through it, each capability as a bit. What is too short to tell is all of them.
func capabilitiesOf(path string) (uint64, error) {
	// struct vfs_ns_cap_data of linux/capability.h: four bytes of version and
	// flags, then permitted and inheritable, then both again for the upper 32.
	var data [24]byte
	n, err := unix.Lgetxattr(path, "security.capability", data[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil { // longer than any kernel has it, too
		return 0, fmt.Errorf("reading the capabilities of %q: %w", path, err)
	}
	if n < 12 {
		return math.MaxUint64, nil
	}
	word := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(data[at:])) }
	return word(4) | word(8) | (word(12)|word(16))<<32, nil
}
