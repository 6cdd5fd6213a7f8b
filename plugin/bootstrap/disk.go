// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	sector = 512
	mib    = 1 << 20
	// The first partition starts at 1 MiB, as partitioning tools have done since
	// disks have sectors of 4 KiB and more.
	espStart = mib
	// Room for three kernels with their initrds (30 MiB each here): the one that
	// runs, the one before, and the one that is being put in.
	espSize = 127 * mib
	// The second GPT takes the last 33 sectors; a whole MiB keeps the root aligned.
	gptTail = mib
)

// disk is a disk image that boots under UEFI: what is where, as values.
type disk struct {
	size     int64
	rootID   string // UUID of the root's file system
	espID    string // serial number of the ESP's, eight hexadecimal digits
	hashSeed string // of ext4's directory index
	firmware firmware
	// entry names the boot entry and its folder, as kernel-install does with
	// /etc/kernel/entry-token, so that a kernel update by it finds its own.
	entry string
}

// newDisk names everything by what the image is made of, so that two bakes of the
// same inputs give the same names.
func newDisk(c *Config) disk {
	id := func(of string) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "vpnami %s %s %s %s", c.Distribution, c.Release, c.Architecture, of))
		u := sum[:16]
		u[6] = u[6]&0x0f | 0x80 // version 8: made by a rule of one's own (RFC 9562)
		u[8] = u[8]&0x3f | 0x80
		h := hex.EncodeToString(u)
		return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
	}
	sum := sha256.Sum256([]byte(id("esp")))
	return disk{
		size:     c.diskSize,
		rootID:   id("root"),
		espID:    fmt.Sprintf("%08X", binary.BigEndian.Uint32(sum[:])),
		hashSeed: id("directories"),
		firmware: firmwares()[c.Architecture],
		entry:    c.Distribution,
	}
}

func (d disk) rootStart() int64 { return espStart + espSize }
func (d disk) rootSize() int64  { return d.size - d.rootStart() - gptTail }

// espUUID is the serial number as /dev/disk/by-uuid shows it.
func (d disk) espUUID() string { return d.espID[:4] + "-" + d.espID[4:] }

// cmdline is the kernel's command line.
func (d disk) cmdline() string {
	return strings.Join([]string{
		"root=UUID=" + d.rootID, "ro",
		// EC2's console is the first serial port; the last one named is
		// /dev/console, where vpnami-firstboot reports.
		"console=tty0", "console=ttyS0,115200n8",
		// EBS may take long to answer, and the device must not be given up:
		// https://docs.aws.amazon.com/ebs/latest/userguide/nvme-ebs-volumes.html
		"nvme_core.io_timeout=4294967295",
	}, " ")
}

// fstab of the root. The boot partition is waited for longer than systemd's 90 s,
// by nobody but its mount: a machine on which it is not mounted goes on booting the
// kernel that it has, whatever updates bring, and an emulated one may take minutes to
// see its partitions.
func (d disk) fstab() string {
	return fmt.Sprintf(`# Written by vpnami-bootstrap.
UUID=%s / ext4 defaults,errors=remount-ro 0 1
UUID=%s /boot/efi vfat umask=0077,nosuid,nodev,noexec,nofail,x-systemd.device-timeout=10min 0 2
`, d.rootID, d.espUUID())
}

// kernelOf finds the newest kernel of a root file system.
func kernelOf(root string) (version string, err error) {
	found, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return "", fmt.Errorf("looking for the image's kernel: %w", err)
	}
	if len(found) == 0 {
		return "", errors.New("looking for the image's kernel: no /boot/vmlinuz-* there; a package of the list was not installed")
	}
	slices.SortFunc(found, func(a, b string) int { return compareVersions(filepath.Base(a), filepath.Base(b)) })
	version = strings.TrimPrefix(filepath.Base(found[len(found)-1]), "vmlinuz-")
	if _, err := os.Stat(filepath.Join(root, "boot", "initrd.img-"+version)); err != nil {
		return "", fmt.Errorf("looking for the initrd of kernel %q: %w", version, err)
	}
	return version, nil
}

// compareVersions orders 6.9 before 6.12: runs of digits count as numbers.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da != "" && db != "" {
			na, nb := strings.TrimLeft(da, "0"), strings.TrimLeft(db, "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = a[len(da):], b[len(db):]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) string {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i]
}

// write makes the disk image at path from the root file system at root, with no
// loop device and no mount: every tool writes at its offset into the sparse file.
//
// Nothing in it is newer than epoch, and nothing depends on the host: the same
// tree gives the same bytes.
func (d disk) write(ctx context.Context, path, root, scratch string, epoch time.Time) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return file{}, fmt.Errorf("making the disk image: %w", err)
	}
	if err := errors.Join(f.Truncate(d.size), f.Close()); err != nil {
		return file{}, fmt.Errorf("making the disk image: %w", err)
	}
	kernel, err := kernelOf(root)
	if err != nil {
		return file{}, err
	}
	config := filepath.Join(scratch, "loader.conf")
	entry := filepath.Join(scratch, "entry.conf")
	kinds := filepath.Join(scratch, "entries.srel")
	fsConfig := filepath.Join(scratch, "mke2fs.conf")
	// timeout 0: a console that nobody watches needs no menu.
	if err := errors.Join(
		os.WriteFile(config, []byte("timeout 0\nconsole-mode keep\neditor no\n"), 0o600),
		os.WriteFile(entry, []byte(d.loaderEntry(kernel)), 0o600),
		// By this file kernel-install knows the partition.
		os.WriteFile(kinds, []byte("type1\n"), 0o600),
		os.WriteFile(fsConfig, mke2fsConfig, 0o600),
	); err != nil {
		return file{}, fmt.Errorf("writing the boot entry: %w", err)
	}

	esp := fmt.Sprintf("%s@@%d", path, espStart)
	folder := "::/" + d.entry + "/" + kernel
	steps := []struct {
		doing string
		args  []string
	}{
		{"writing the partition table", []string{"sgdisk", "--clear",
			"--new=1:" + sectors(espStart) + ":" + sectors(d.rootStart()-sector), "--typecode=1:ef00", "--change-name=1:esp",
			"--new=2:" + sectors(d.rootStart()) + ":" + sectors(d.rootStart()+d.rootSize()-sector), "--typecode=2:" + d.firmware.rootType, "--change-name=2:root",
			"--disk-guid=" + d.hashSeed, "--partition-guid=1:" + flip(d.rootID), "--partition-guid=2:" + d.rootID, path}},
		{"making the boot partition", []string{"mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-n", "ESP", "-i", d.espID, // after --invariant, which sets one of its own
			"--offset=" + sectors(espStart), path, fmt.Sprint(espSize / 1024)}},
		{"filling the boot partition", []string{"mmd", "-i", esp, "::/EFI", "::/EFI/BOOT", "::/EFI/systemd", "::/loader", "::/loader/entries", "::/" + d.entry, folder}},
		{"filling the boot partition", []string{"mcopy", "-i", esp, filepath.Join(root, d.firmware.loader), "::/EFI/BOOT/" + d.firmware.fallback}},
		// Where "bootctl update" looks for it, and without which the kernel's hooks
		// take the machine for one that boots in another way.
		{"filling the boot partition", []string{"mcopy", "-i", esp, filepath.Join(root, d.firmware.loader), "::/EFI/systemd/" + filepath.Base(d.firmware.loader)}},
		{"filling the boot partition", []string{"mcopy", "-i", esp, filepath.Join(root, "boot", "vmlinuz-"+kernel), folder + "/linux"}},
		{"filling the boot partition", []string{"mcopy", "-i", esp, filepath.Join(root, "boot", "initrd.img-"+kernel), folder + "/initrd.img-" + kernel}},
		{"filling the boot partition", []string{"mcopy", "-i", esp, config, "::/loader/loader.conf"}},
		{"filling the boot partition", []string{"mcopy", "-i", esp, kinds, "::/loader/entries.srel"}},
		{"filling the boot partition", []string{"mcopy", "-i", esp, entry, "::/loader/entries/" + d.entry + "-" + kernel + ".conf"}},
		// The inode tables are left zero, which they are in a new sparse file;
		// the kernel need not write them on the first boot either.
		{"making the root partition", []string{"mkfs.ext4", "-q", "-F", "-L", "root", "-U", d.rootID,
			"-E", fmt.Sprintf("offset=%d,hash_seed=%s,lazy_itable_init=1,assume_storage_prezeroed=1", d.rootStart(), d.hashSeed),
			"-d", root, path, fmt.Sprint(d.rootSize()/1024) + "k"}},
	}
	for _, s := range steps {
		cmd := hostCommand(ctx, s.args[0], s.args[1:]...)
		// mtools refuses a partition whose geometry is not of 1987.
		cmd.Env = append(cmd.Env, "MTOOLS_SKIP_CHECK=1", "MKE2FS_CONFIG="+fsConfig)
		cmd.Env = append(cmd.Env, reproducibly(epoch)...)
		if err := run(cmd, s.doing); err != nil {
			return file{}, fmt.Errorf("%w; if it ran out of room, make disk_size larger", err)
		}
	}
	if err := stampInodes(ctx, path, d.rootStart(), scratch, epoch); err != nil {
		return file{}, err
	}
	return hashed(ctx, path)
}

// loaderEntry is the Boot Loader Specification's type 1.
func (d disk) loaderEntry(kernel string) string {
	folder := "/" + d.entry + "/" + kernel
	// The sort key is what kernel-install writes (ID of os-release): among entries
	// of one key the newest version is booted.
	return fmt.Sprintf("title %s\nversion %s\nsort-key %s\nlinux %s/linux\ninitrd %s/initrd.img-%s\noptions %s\n",
		d.entry, kernel, d.entry, folder, folder, kernel, d.cmdline())
}

func sectors(bytes int64) string { return fmt.Sprint(bytes / sector) }

// flip makes another identifier of one.
func flip(id string) string {
	sum := sha256.Sum256([]byte(id))
	return id[:len(id)-12] + hex.EncodeToString(sum[:6])
}
