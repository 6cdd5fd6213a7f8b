// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// stillRevoke adds to the last good state, before it takes the place of what is in
// force, whom that revokes, and what is published. Why the rest of it cannot be had
// may be in the hands of whoever is revoked (a proof fails in a flood of packets); to
// be let in must not follow from it. What another CA revokes is other people's.
func (s store) stillRevoke(good generation, in intent) error {
	if good.Role != RoleVPN {
		return nil
	}
	var serials []string
	if now, ok := s.read(s.layout.current()); ok && now.Name != good.Name && now.sharesCA(good.record) {
		revoked, err := os.ReadDir(filepath.Join(s.folder(now), revokedFolder))
		if err != nil {
			return fmt.Errorf("reading who is revoked in generation %s: %w", now.Name, err)
		}
		for _, entry := range revoked {
			serials = append(serials, entry.Name())
		}
	}
	if recordOf(in).sharesCA(good.record) {
		for _, serial := range in.bundle.Revoked() {
			serials = append(serials, serial.String())
		}
	}
	needed, err := s.neededSerials(good)
	if err != nil {
		return err
	}
	folder := filepath.Join(s.folder(good), revokedFolder)
	slices.Sort(serials)
	missing := slices.DeleteFunc(slices.Compact(serials), func(serial string) bool {
		_, err := os.Lstat(filepath.Join(folder, serial))
		return err == nil || slices.Contains(needed, serial)
	})
	if len(missing) == 0 {
		return nil
	}
	if err := s.linkEmpty(folder, missing); err != nil {
		return fmt.Errorf("revoking in generation %s who has been revoked since: %w", good.Name, err)
	}
	return nil
}

// neededSerials are those without which a generation cannot be proven, and nobody
// gets in: its probe's, which a rotation may have revoked and which is let in from
// this machine alone, and its CAs' own.
func (s store) neededSerials(g generation) ([]string, error) {
	probe, err := os.ReadFile(filepath.Join(s.folder(g), "serials", bundle.ProbeName))
	if err != nil {
		return nil, fmt.Errorf("reading the probe's serial of generation %s: %w", g.Name, err)
	}
	text, err := os.ReadFile(filepath.Join(s.folder(g), "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the CA of generation %s: %w", g.Name, err)
	}
	cas, err := bundle.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("reading the CA of generation %s: %w", g.Name, err)
	}
	needed := strings.Fields(string(probe))
	for _, ca := range cas {
		needed = append(needed, ca.SerialNumber.String())
	}
	return needed, nil
}

// maxLinks is below what ext4 allows a file, 65,000.
const maxLinks = 10_000

// linkEmpty makes empty files in a folder in force. A link has its mode and group from
// the beginning: a crash leaves none that the daemon's user cannot read, for which
// OpenVPN would admit whom it names.
func (s store) linkEmpty(folder string, names []string) error {
	for some := range slices.Chunk(names, maxLinks) {
		if err := s.linkSome(folder, some); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(folder), syncFolder(s.layout.generations()))
}

func (s store) linkSome(folder string, names []string) error {
	empty, err := os.CreateTemp(s.layout.generations(), tempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(empty.Name())
	if err := errors.Join(write(empty, nil, fileMode, s.group), empty.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Link(empty.Name(), filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// sharesCA tells whether two generations have revocation lists of one CA.
func (r record) sharesCA(other record) bool {
	for _, list := range []CRLEnd{r.CRL, r.PreviousCRL} {
		if list.Issuer != "" && (list.Issuer == other.CRL.Issuer || list.Issuer == other.PreviousCRL.Issuer) {
			return true
		}
	}
	return false
}
