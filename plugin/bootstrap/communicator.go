// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// transferDeadline ends an upload or download that does not: Packer's interface
// passes no context to them. A gigabyte takes seconds on one machine.
const transferDeadline = 10 * time.Minute

// communicator runs commands in the root file system, as root, in the sandbox.
// (The SDK's chroot.Communicator passes each command through the host's shell,
// where its dollars and backquotes are expanded.)
type communicator struct {
	sandbox *sandbox
	root    string
}

var _ packersdk.Communicator = (*communicator)(nil)

// Start runs a shell command, as [packersdk.Communicator] has it.
func (c *communicator) Start(ctx context.Context, remote *packersdk.RemoteCmd) error {
	cmd := c.sandbox.chroot(ctx, c.root, "/bin/sh", "-c", remote.Command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = remote.Stdin, remote.Stdout, remote.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting a command in the image: %w", err)
	}
	go func() {
		remote.SetExited(exitStatus(cmd.Wait()))
	}()
	return nil
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		// ErrWaitDelay: it ended well and left something running that holds its
		// output; the sandbox ends that.
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	default:
		return 1
	}
}

// Upload writes a file of the image.
func (c *communicator) Upload(dst string, r io.Reader, info *os.FileInfo) error {
	ctx, cancel := context.WithTimeout(context.Background(), transferDeadline)
	defer cancel()
	mode := "0644"
	if info != nil && *info != nil {
		mode = fmt.Sprintf("%#o", (*info).Mode().Perm())
	}
	// Through the sandbox, not through the path on the host: /tmp is a mount
	// there, and a link of the image must lead into the image.
	cmd := c.sandbox.chroot(ctx, c.root, "/bin/sh", "-c", `cat >"$1" && chmod "$2" "$1"`, "upload", dst, mode)
	cmd.Stdin = r
	return run(cmd, fmt.Sprintf("uploading to %q in the image", dst))
}

// Download reads a file of the image.
func (c *communicator) Download(src string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), transferDeadline)
	defer cancel()
	cmd := c.sandbox.chroot(ctx, c.root, "cat", "--", src)
	cmd.Stdout = w
	return run(cmd, fmt.Sprintf("downloading %q from the image", src))
}

// UploadDir copies a folder into the image. As rsync does, it copies what is in
// src when src ends with a slash, and else the folder itself.
func (c *communicator) UploadDir(dst, src string, exclude []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), transferDeadline)
	defer cancel()
	dst = within(dst, src)
	pack := hostCommand(ctx, "tar", append(excluded(exclude), "--create", "--directory", src, ".")...)
	pack.Dir = "" // src may be relative to where Packer was called
	unpack := c.sandbox.chroot(ctx, c.root, "/bin/sh", "-c", `mkdir -p "$1" && exec tar --extract --no-same-owner --directory "$1"`, "upload", dst)
	return pipe(pack, unpack, fmt.Sprintf("uploading folder %q to %q in the image", src, dst))
}

// DownloadDir copies a folder of the image to the host, by the rule of UploadDir.
func (c *communicator) DownloadDir(src, dst string, exclude []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), transferDeadline)
	defer cancel()
	dst = within(dst, src)
	if err := os.MkdirAll(dst, 0o755); err != nil { //nolint:gosec // the user's folder
		return fmt.Errorf("downloading folder %q from the image: %w", src, err)
	}
	pack := c.sandbox.chroot(ctx, c.root, "tar", append(excluded(exclude), "--create", "--directory", src, ".")...)
	unpack := hostCommand(ctx, "tar", "--extract", "--no-same-owner", "--directory", dst)
	unpack.Dir = ""
	return pipe(pack, unpack, fmt.Sprintf("downloading folder %q from the image to %q", src, dst))
}

func within(dst, src string) string {
	if strings.HasSuffix(src, "/") {
		return dst
	}
	return filepath.Join(dst, filepath.Base(src))
}

func excluded(patterns []string) []string {
	args := make([]string, 0, len(patterns))
	for _, p := range patterns {
		args = append(args, "--exclude="+p)
	}
	return args
}

func pipe(from, to *exec.Cmd, doing string) error {
	out, err := from.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	to.Stdin = out
	said := &tail{}
	from.Stderr, to.Stderr = said, said
	if err := to.Start(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	fromErr := from.Start()
	if fromErr != nil {
		_ = out.Close()
	}
	toErr := to.Wait()
	if fromErr == nil {
		fromErr = from.Wait()
	}
	if err := errors.Join(fromErr, toErr); err != nil {
		return fmt.Errorf("%s: %w: %s", doing, err, said)
	}
	return nil
}
