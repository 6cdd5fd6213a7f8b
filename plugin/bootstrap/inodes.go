// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed mke2fs.conf
var mke2fsConfig []byte

// inodeCounts are the lines of dumpe2fs that tell how many inodes are in use.
var inodeCounts = regexp.MustCompile(`(?m)^(Inode count|Free inodes): +(\d+)$`)

// stampInodes sets the times of an ext4 file system that "mkfs.ext4 -d" has
// filled. mkfs copies them from the tree's own inodes, whose time of change
// nobody can set and whose time of access changes by packing the tree.
// (e2fsprogs does it by itself from 1.47.1 on, which not every host has.)
func stampInodes(ctx context.Context, path string, offset int64, scratch string, epoch time.Time) error {
	const doing = "setting the times of the root partition"
	device := fmt.Sprintf("%s?offset=%d", path, offset)
	var header bytes.Buffer
	dump := hostCommand(ctx, "dumpe2fs", "-h", device)
	dump.Stdout = &header
	if err := run(dump, doing); err != nil {
		return err
	}
	counts := map[string]int64{}
	for _, m := range inodeCounts.FindAllStringSubmatch(header.String(), -1) {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: dumpe2fs says %q: %w", doing, m[0], err)
		}
		counts[m[1]] = n
	}
	if len(counts) != 2 {
		return fmt.Errorf("%s: dumpe2fs says neither how many inodes there are nor how many are free", doing)
	}
	// A file system that was just made and filled uses its inodes from the first
	// one on: numbers are given in order and none was given back. 2 is the root,
	// those up to 10 are ext4's own.
	var script strings.Builder
	stamp := func(inode int64) {
		for _, field := range []string{"atime", "ctime", "crtime"} {
			fmt.Fprintf(&script, "set_inode_field <%d> %s @%d\n", inode, field, epoch.Unix())
		}
	}
	stamp(2)
	for inode := int64(11); inode <= counts["Inode count"]-counts["Free inodes"]; inode++ {
		stamp(inode)
	}
	commands := filepath.Join(scratch, "inodes")
	if err := os.WriteFile(commands, []byte(script.String()), 0o600); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	complaint := &tail{}
	cmd := hostCommand(ctx, "debugfs", "-w", "-f", commands, device)
	cmd.Env = append(cmd.Env, reproducibly(epoch)...)
	cmd.Stderr = complaint
	if err := run(cmd, doing); err != nil {
		return err
	}
	// debugfs ends well whatever its commands say; the first line is its name.
	if _, said, _ := strings.Cut(complaint.String(), "\n"); said != "" {
		return fmt.Errorf("%s: debugfs says: %s", doing, said)
	}
	return nil
}

// reproducibly is the environment in which programs take epoch for now.
func reproducibly(epoch time.Time) []string {
	now := strconv.FormatInt(epoch.Unix(), 10)
	// The second is what e2fsprogs before 1.47.1 reads.
	return []string{"SOURCE_DATE_EPOCH=" + now, "E2FSPROGS_FAKE_TIME=" + now}
}
