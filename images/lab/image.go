// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// keptRoots is how many unpacked images stay for the next lab: the current
// one, the one before, and one more for a comparison.
const keptRoots = 3

// unpackRoot unpacks an image's root.tar once, however many labs use it, and
// returns the folder.
func unpackRoot(ctx context.Context, image string) (string, error) {
	tarball := filepath.Join(image, "root.tar")
	key, err := imageKey(tarball)
	if err != nil {
		return "", fmt.Errorf("unpacking image: %w", err)
	}
	if err := os.MkdirAll(cacheRoot, 0o700); err != nil {
		return "", fmt.Errorf("unpacking image: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cacheRoot, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("unpacking image: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("unpacking image: locking %q: %w", cacheRoot, err)
	}
	root := filepath.Join(cacheRoot, key)
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	part := root + ".part"                                                         // of an unpacking that was cut short, perhaps
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil { //nolint:gosec // it becomes the machine's own "/"
		return "", fmt.Errorf("unpacking image: %w", err)
	}
	tar := exec.CommandContext(ctx, "tar", "--extract", "--file", tarball, "--directory", part,
		"--numeric-owner", "--preserve-permissions", "--xattrs", "--xattrs-include=*")
	var stderr bytes.Buffer
	tar.Stderr = &stderr
	if err := tar.Run(); err != nil {
		return "", fmt.Errorf("unpacking %q: %w: %s", tarball, err, lastLines(stderr.Bytes(), 5))
	}
	if err := os.Rename(part, root); err != nil {
		return "", fmt.Errorf("unpacking image: %w", err)
	}
	return root, pruneRoots(root)
}

// imageKey names the content of a file without reading it: a bake writes a
// new file, so inode, size and time of change tell.
func imageKey(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("reading inode of %q: not supported here", path)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %d", stat.Dev, stat.Ino, stat.Size, stat.Ctim.Nano()))
	return hex.EncodeToString(sum[:8]), nil
}

func inode(info os.FileInfo) (uint64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("reading inode: not supported here")
	}
	return stat.Ino, nil
}

// pruneRoots removes the oldest unpacked images that no lab has mounted.
func pruneRoots(current string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(cacheRoot)
	if err != nil {
		return err
	}
	type root struct {
		path string
		used int64
	}
	var roots []root
	for _, e := range entries {
		info, err := e.Info()
		path := filepath.Join(cacheRoot, e.Name())
		if err != nil || !e.IsDir() || path == current || strings.Contains(string(mounts), path) {
			continue
		}
		roots = append(roots, root{path, info.ModTime().Unix()})
	}
	sort.Slice(roots, func(i, j int) bool { return roots[i].used > roots[j].used })
	for _, r := range roots[min(len(roots), keptRoots-1):] {
		if err := os.RemoveAll(r.path); err != nil {
			return fmt.Errorf("removing old image: %w", err)
		}
	}
	return nil
}
