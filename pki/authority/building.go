// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// startBuilding makes the folder that becomes the one at path.
func startBuilding(path string) (string, error) {
	path = filepath.Clean(path)
	return os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
}

// hold locks an authority that is being made: by that it is known from one that a kill
// left. What is in the lock file is not true of a copy, nor of the authority once it has
// its name.
func hold(building string) (*flock.Flock, error) {
	path := filepath.Join(building, lockFile)
	mark, err := heldMark(building)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateFile)
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(mark)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	lock := flock.New(path)
	_, _ = lock.TryLock() // where a file system has no locks, its age tells
	return lock, nil
}

// heldMark is what the lock of an authority has that is being made in a folder, by this
// machine.
func heldMark(building string) (string, error) {
	host, err := os.Hostname()
	return fmt.Sprintf("making %s on %s\n", filepath.Base(building), host), err
}

// SweepBuilding removes what a kill left of making an authority at path, or another
// beside it: there may be a CA's key in it, and those of a gateway. It returns the paths,
// and the certificates of the gateways, for the log of the authority that is made next.
func SweepBuilding(path string, now time.Time) ([]string, []*x509.Certificate, error) {
	found, err := findBuilding(path, now)
	var gateways []*x509.Certificate
	for _, path := range found {
		gateways = append(gateways, gatewaysIn(path)...)
	}
	swept, failed := removeAll(found)
	return swept, gateways, errors.Join(err, failed)
}

// SweepBeside is [SweepBuilding] beside the authority itself; the log tells of what it
// had signed there.
func (f Folder) SweepBeside(now time.Time) ([]string, error) {
	path, err := Resolve(f.path)
	if err != nil {
		return nil, fmt.Errorf("looking for what a broken-off command left: %w", err)
	}
	found, err := findBuilding(path, now)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil // who may not look there made nothing there
	}
	if failed := f.logLeft(now, found); failed != nil {
		return nil, errors.Join(err, failed)
	}
	swept, failed := removeAll(found)
	return swept, errors.Join(err, failed)
}

func findBuilding(path string, now time.Time) ([]string, error) {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	return find(parent, func(name string, info fs.FileInfo) bool {
		building := filepath.Join(parent, info.Name())
		entries, is := readBuilding(building)
		if !info.IsDir() || !is {
			return false
		}
		// Whoever makes it holds the lock before there is anything else in it.
		if nothing := len(entries) == 0 || slices.Equal(entries, []string{lockFile}); nothing {
			return name == filepath.Base(path) && now.Sub(info.ModTime()) >= leftAfter
		}
		return wasLeft(building, now)
	})
}

// wasLeft tells whether nobody is making an authority in a folder any more. A finished
// one, or a copy of one, is no such folder.
func wasLeft(building string, now time.Time) bool {
	lock := flock.New(filepath.Join(building, lockFile))
	info, err := os.Lstat(lock.Path())
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	mark, err := heldMark(building)
	if err != nil || info.Size() != int64(len(mark)) {
		return false
	}
	if held, err := os.ReadFile(lock.Path()); err != nil || string(held) != mark {
		return false
	}
	free, err := lock.TryLock()
	if err != nil {
		return now.Sub(info.ModTime()) >= unfinishedAfter // none can be had here
	}
	_ = lock.Unlock()
	return free
}

// readBuilding has the names in a folder, if there is nothing in it but what [Make] puts
// there first.
func readBuilding(path string) (names []string, is bool) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, false
	}
	for _, entry := range entries {
		known := []string{"ca", "server", "people", "certificates", lockFile, logFile, markFile}
		if _, temporary := temporaryOf(entry.Name()); !temporary && !slices.Contains(known, entry.Name()) {
			return nil, false
		}
		names = append(names, entry.Name())
	}
	return names, true
}

// gatewaysIn are the certificates of a gateway, and of its probe, that lie anywhere in a
// folder, also under temporary names. What cannot be read is passed over: the folder is
// to go.
func gatewaysIn(folder string) []*x509.Certificate {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil
	}
	defer root.Close()
	var found []*x509.Certificate
	_ = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && isGateways(entry) {
			raw, _ := root.ReadFile(path)
			certificates, _ := bundle.ParseCertificates(raw)
			found = append(found, certificates...)
		}
		return nil
	})
	return found
}

// isGateways tells whether a file is of a certificate of the gateway, or is to be.
func isGateways(file fs.DirEntry) bool {
	const most = 1 << 20 // a thousand times what one takes
	name := file.Name()
	if of, temporary := temporaryOf(name); temporary {
		name = of
	}
	info, err := file.Info()
	return (name == "server.crt" || name == "probe.crt") && err == nil && info.Mode().IsRegular() && info.Size() < most
}

// logLeft tells of the certificates of gateways in folders that are about to be removed,
// where one of the CAs in force signed them and they are not on record.
func (f Folder) logLeft(now time.Time, folders []string) error {
	var entries []Entry
	for _, folder := range folders {
		for _, c := range gatewaysIn(folder) {
			if _, err := os.Stat(f.at(certificateFile(c))); err == nil {
				continue
			}
			for _, ca := range f.cas {
				entries = append(entries, leftBy(ca, c)...)
			}
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return f.Log(now, entries...)
}

// leftBy tells of a certificate of a gateway that a broken-off command left, if a CA
// signed it.
func leftBy(ca, c *x509.Certificate) []Entry {
	if c.CheckSignatureFrom(ca) != nil {
		return nil
	}
	action := loggedProbe
	if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		action = loggedServer
	}
	return undone([]Entry{{Action: action, Name: nameOf(c), Certificate: c, Detail: "a broken-off command left it; its key was removed"}})
}
