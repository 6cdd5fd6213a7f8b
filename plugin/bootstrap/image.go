// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"golang.org/x/sys/unix"
)

// Names of the artifact's files.
const (
	tarName      = "root.tar"
	diskName     = "disk.raw"
	qcow2Name    = "disk.qcow2"
	manifestName = "manifest.json"
	sbomName     = "sbom.cdx.json"
	// What provisioner "vpnami" leaves in an image.
	imageManifest = "usr/share/vpnami/manifest.json"
	imageSBOM     = "usr/share/vpnami/sbom.cdx.json"
)

// file is one of the artifact's.
type file struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// manifest tells what the artifact is made of.
type manifest struct {
	Schema       int      `json:"schema"`
	Distribution string   `json:"distribution"`
	Release      string   `json:"release"`
	Architecture string   `json:"architecture"`
	Sources      []string `json:"sources"`
	// Archives are what those were when the image was baked.
	Archives []archive `json:"archives"`
	RootUUID string    `json:"root_uuid"`
	Files    []file    `json:"files"`
	// Image is the manifest in the image, if a provisioner left one: packages,
	// files laid down, versions.
	Image json.RawMessage `json:"image,omitempty"`
}

// stepWriteImage writes the root file system as the files of the artifact.
type stepWriteImage struct{ *bake }

var _ multistep.Step = (*stepWriteImage)(nil)

func (s *stepWriteImage) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, "Writing root.tar and the disk image...", func(ctx context.Context) error {
		// Nothing may write in the root any more, nor be mounted in it.
		s.sandbox.Close()
		s.sandbox = nil
		if err := sealRoot(s.root()); err != nil {
			return err
		}
		if err := settle(s.root(), s.epoch()); err != nil {
			return err
		}
		// Both read the same tree from the page cache, on a core each.
		var packed file
		var disks []file
		var errs [2]error
		var both sync.WaitGroup
		both.Go(func() {
			packed, errs[0] = writeTar(ctx, s.root(), filepath.Join(s.out(), tarName))
		})
		both.Go(func() {
			disks, errs[1] = s.writeDisks(ctx)
		})
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		s.files = append([]file{packed}, disks...)
		return nil
	})
}

func (s *stepWriteImage) Cleanup(multistep.StateBag) {}

// writeDisks makes the disk image in each of the formats that are wanted.
func (s *stepWriteImage) writeDisks(ctx context.Context) ([]file, error) {
	raw := filepath.Join(s.out(), diskName)
	f, err := s.disk.write(ctx, raw, s.root(), s.scratch(), s.epoch())
	if err != nil {
		return nil, err
	}
	var written []file
	if slices.Contains(s.config.DiskFormats, formatRaw) {
		written = append(written, f)
	}
	if slices.Contains(s.config.DiskFormats, formatQcow2) {
		if f, err = convert(ctx, raw, filepath.Join(s.out(), qcow2Name)); err != nil {
			return nil, err
		}
		written = append(written, f)
	}
	if !slices.Contains(s.config.DiskFormats, formatRaw) {
		if err := os.Remove(raw); err != nil {
			return nil, fmt.Errorf("removing the disk image that only qcow2 was made of: %w", err)
		}
	}
	return written, nil
}

// convert makes a compressed qcow2 of a raw disk image. qemu-img writes the
// clusters in their order, and has no time or name in the file: the same disk
// gives the same bytes.
func convert(ctx context.Context, raw, path string) (file, error) {
	cmd := hostCommand(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", raw, path)
	if err := run(cmd, "making the qcow2 of the disk image"); err != nil {
		return file{}, err
	}
	return hashed(ctx, path)
}

// hashed hashes a file that a program has written, and makes it durable.
func hashed(ctx context.Context, path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return file{}, fmt.Errorf("hashing %q: %w", filepath.Base(path), err)
	}
	defer f.Close()
	sum := sha256.New()
	for {
		// A piece at a time: a disk of 16 TiB takes hours, a Ctrl-C does not wait.
		_, err := io.CopyN(sum, f, 64*mib)
		if errors.Is(err, io.EOF) {
			return finish(f, hex.EncodeToString(sum.Sum(nil)))
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return file{}, fmt.Errorf("hashing %q: %w", filepath.Base(path), err)
		}
	}
}

// writeTar packs the tree with its owners by number (names are the image's own),
// extended attributes (file capabilities are among them), in a fixed order.
func writeTar(ctx context.Context, root, path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return file{}, fmt.Errorf("writing root.tar: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	cmd := hostCommand(ctx, "tar", "--create", "--file=-", "--numeric-owner",
		"--xattrs", "--xattrs-include=*", "--sort=name", "--format=posix",
		// Without the times that reading and packing themselves change.
		"--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
		"--directory="+root, ".")
	cmd.Stdout = io.MultiWriter(f, sum)
	if err := run(cmd, "writing root.tar"); err != nil {
		return file{}, err
	}
	return finish(f, hex.EncodeToString(sum.Sum(nil)))
}

// finish makes a written file durable and tells what it is.
func finish(f *os.File, sum string) (file, error) {
	st, err := f.Stat()
	if err := errors.Join(err, f.Sync(), f.Chmod(0o644)); err != nil {
		return file{}, fmt.Errorf("writing %q: %w", filepath.Base(f.Name()), err)
	}
	return file{Name: filepath.Base(f.Name()), Bytes: st.Size(), SHA256: sum}, nil
}

// stepPublish writes the manifest and gives the artifact its name.
type stepPublish struct{ *bake }

var _ multistep.Step = (*stepPublish)(nil)

func (s *stepPublish) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, fmt.Sprintf("Putting the image into %s...", s.config.OutputDirectory), func(context.Context) error {
		if err := s.copySBOM(); err != nil {
			return err
		}
		if err := s.writeManifest(); err != nil {
			return err
		}
		if err := publish(s.out(), s.config.OutputDirectory, s.config.PackerForce); err != nil {
			return err
		}
		s.artifact = newArtifact(s.config.OutputDirectory, s.files)
		return nil
	})
}

func (s *stepPublish) Cleanup(multistep.StateBag) {}

// copySBOM puts the SBOM beside the image, if a provisioner left one in it.
func (s *stepPublish) copySBOM() error {
	in, err := os.OpenRoot(s.root())
	if err != nil {
		return fmt.Errorf("opening the root file system: %w", err)
	}
	defer in.Close()
	data, err := in.ReadFile(imageSBOM)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the image's SBOM: %w", err)
	}
	f, err := s.writeBeside(sbomName, data)
	s.files = append(s.files, f)
	return err
}

// writeBeside writes a small file of the artifact.
func (s *stepPublish) writeBeside(name string, data []byte) (file, error) {
	f, err := os.OpenFile(filepath.Join(s.out(), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return file{}, fmt.Errorf("writing %s: %w", name, err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return file{}, fmt.Errorf("writing %s: %w", name, err)
	}
	sum := sha256.Sum256(data)
	return finish(f, hex.EncodeToString(sum[:]))
}

func (s *stepPublish) writeManifest() error {
	m := manifest{
		Schema: 1, Distribution: s.config.Distribution, Release: s.config.Release,
		Architecture: s.config.Architecture, Sources: s.sources, Archives: s.archives, RootUUID: s.disk.rootID, Files: s.files,
	}
	in, err := os.OpenRoot(s.root())
	if err != nil {
		return fmt.Errorf("opening the root file system: %w", err)
	}
	defer in.Close()
	switch image, err := in.ReadFile(imageManifest); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("reading the image's own manifest: %w", err)
	case !json.Valid(image):
		return fmt.Errorf("reading the image's own manifest /%s: it is not JSON", imageManifest)
	default:
		m.Image = image
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	_, err = s.writeBeside(manifestName, append(data, '\n'))
	return err
}

// publish gives a complete folder its name by one rename, so that nobody ever
// sees half of it, or, with force, neither the old one nor the new. What had that
// name is left where the new one was made, and goes with that.
func publish(from, to string, force bool) error {
	if err := refuseExisting(to, force); err != nil {
		return err // somebody else made it meanwhile
	}
	if err := syncFolder(from); err != nil {
		return err
	}
	err := renameToNew(from, to)
	if errors.Is(err, unix.EEXIST) && force {
		err = exchange(from, to)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = renameBySteps(from, to) // a network's file system
	}
	if err != nil {
		return fmt.Errorf("naming the image %q: %w", to, err)
	}
	return syncFolder(filepath.Dir(filepath.Clean(to)))
}

// renameBySteps is for file systems that cannot exchange two names at once.
func renameBySteps(from, to string) error {
	if err := os.Rename(to, from+".replaced"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("moving the earlier one aside: %w", err)
	}
	return os.Rename(from, to)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("making %q durable: %w", dir, err)
	}
	defer f.Close()
	// Some file systems cannot sync a folder, and say so.
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("making %q durable: %w", dir, err)
	}
	return nil
}
