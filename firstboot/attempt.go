// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// attempt is the name of trying a generation: another launch, another secret,
// another program or another boot is worth another attempt.
func (s store) attempt(in intent, version string) string {
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%q %q %q %q", digest(in.files), in.instance.UserData, version, s.bootID)
	return hex.EncodeToString(sum.Sum(nil))
}

// setFailed notes an attempt that the last good state had to replace. To try
// the same again by itself would end every session twice, each time.
func (s store) setFailed(attempt string, why error) error {
	return replaceFile(s.layout.failed(), []byte(attempt+"\n"+oneLine(why)+"\n"), 0o600)
}

// failed tells why an attempt failed before.
func (s store) failed(attempt string) error {
	text, err := os.ReadFile(s.layout.failed())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what failed before: %w", err)
	}
	digest, why, _ := strings.Cut(string(text), "\n")
	if digest != attempt {
		return nil
	}
	return refusing(fmt.Errorf("%s (and not tried again)", strings.TrimSpace(why)),
		"look at \"journalctl -u %s\", correct the user-data or publish again; a reboot tries the same once more", openvpnUnit)
}

// forget: what works now makes the one that failed worth another attempt.
func (s store) forget() error {
	// On a disk that is read-only, to remove even what is not there fails.
	if _, err := os.Lstat(s.layout.failed()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Remove(s.layout.failed()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting what failed before: %w", err)
	}
	return nil
}
