// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// checkWhole has the folder opened and read; where none is yet, there is none
// by half.
func checkWhole(t *testing.T, folder, where string) {
	t.Helper()
	path := filepath.Join(folder, "office")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return
	}
	fail := func(err error) {
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	office, err := authority.Open(path)
	if err != nil {
		fail(err)
		return
	}
	_, err = office.Server()
	fail(err)
	_, err = office.Wrapper()
	fail(err)
	_, err = office.Standing(time.Now())
	fail(err)
	people, err := office.People()
	fail(err)
	for _, p := range people {
		// Whoever is in the roster has a certificate, on record.
		certificates, err := office.OfRoster(p, p.Certificates)
		fail(err)
		for _, c := range certificates {
			_, err := os.Stat(filepath.Join(office.Path(), "certificates", c.Serial.Text(16)+".crt"))
			fail(err)
		}
		if len(certificates) == 0 {
			t.Errorf("%s: %q has no certificate", where, p.Name)
		}
	}
	checkLogged(t, office, where)
	// A list either has all that is revoked or is refused by name.
	if _, err := office.CRLs(time.Now()); err != nil && !strings.Contains(err.Error(), `with "vpnami-pki crl"`) {
		fail(err)
	}
}

// checkLogged wants a line of the log for each certificate that is kept.
func checkLogged(t *testing.T, office authority.Folder, where string) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(office.Path(), "log.jsonl"))
	if err != nil {
		t.Errorf("%s: %v", where, err)
	}
	for _, pattern := range []string{"certificates/*.crt", "server/[0-9]*/*.crt", "ca/[0-9]*/ca.crt"} {
		paths, err := filepath.Glob(filepath.Join(office.Path(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(raw)
			if block == nil {
				t.Errorf("%s: %q is no PEM", where, path)
				continue
			}
			if !bytes.Contains(log, fmt.Appendf(nil, `"sha256":"%x"`, sha256.Sum256(block.Bytes))) {
				t.Errorf("%s: the log does not tell of %q", where, path)
			}
		}
	}
}

// checkTold wants the log to have more where another authority.json is in force: it has it
// first.
func checkTold(t *testing.T, before, after, where string) {
	t.Helper()
	same := func(name string) bool {
		was, _ := os.ReadFile(filepath.Join(before, "office", name)) // before "init" there is none
		is, err := os.ReadFile(filepath.Join(after, "office", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Equal(was, is)
	}
	if !same("authority.json") && same("log.jsonl") {
		t.Errorf("%s: authority.json is another, and the log does not tell of it", where)
	}
}
