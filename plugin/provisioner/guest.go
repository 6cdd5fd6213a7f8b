// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/vpnami/packer-plugin-vpnami/plugin/progress"
)

//go:embed scripts/*.sh
var scripts embed.FS

// closeDeadline is for removing our folder from a guest, after whatever happened.
const closeDeadline = 20 * time.Second

// guest is the machine that becomes the image.
type guest struct {
	comm packersdk.Communicator
	ui   packersdk.Ui
	// sudo goes before what root must do; empty when we are root.
	sudo string
	// dir is our folder on the guest while it is open.
	dir string
}

// open makes our folder on the guest, with the scripts.
func (g *guest) open(ctx context.Context) error {
	payload, err := payload()
	if err != nil {
		return err
	}
	dir, err := g.ask(ctx, "mktemp -d /tmp/vpnami.XXXXXXXXXX")
	if err != nil {
		return fmt.Errorf("making a folder on the guest: %w", err)
	}
	g.dir = strings.TrimSpace(dir)
	if err := g.comm.Upload(path.Join(g.dir, "payload.tar.gz"), bytes.NewReader(payload), nil); err != nil {
		return fmt.Errorf("uploading our scripts to %q on the guest: %w", g.dir, err)
	}
	if _, err := g.ask(ctx, "tar -xzf "+quote(path.Join(g.dir, "payload.tar.gz"))+" -C "+quote(g.dir)); err != nil {
		return fmt.Errorf("unpacking our scripts on the guest: %w", err)
	}
	return nil
}

// close removes our folder from the guest. Closing twice is closing once.
func (g *guest) close(ctx context.Context) {
	if g.dir == "" {
		return
	}
	// Also when ctx is over: the guest may be kept for a look at what failed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeDeadline)
	defer cancel()
	if _, err := g.ask(ctx, g.sudo+"rm -rf "+quote(g.dir)); err != nil {
		g.ui.Error(fmt.Sprintf("removing %q from the guest: %v", g.dir, err))
	}
	g.dir = ""
}

// ask runs a command and returns what it prints.
func (g *guest) ask(ctx context.Context, command string) (string, error) {
	var out bytes.Buffer
	err := g.run(ctx, command, &out)
	return out.String(), err
}

// script runs one of our scripts as root, and writes what it says to out.
func (g *guest) script(ctx context.Context, out io.Writer, name string, args ...string) error {
	command := g.sudo + "/bin/sh " + quote(path.Join(g.dir, "scripts", name))
	for _, a := range args {
		command += " " + quote(a)
	}
	return g.run(ctx, command, out)
}

// say is the writer that shows each line to the person who watches.
func (g *guest) say() *progress.Lines { return progress.NewLines(g.note) }

// note tells of what goes on within a step.
func (g *guest) note(line string) { g.ui.Say("    " + line) }

// run runs a command to its end, or to that of ctx.
func (g *guest) run(ctx context.Context, command string, out io.Writer) error {
	complaint := new(bytes.Buffer)
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: out, Stderr: io.MultiWriter(complaint, g.shown(out))}
	if err := g.comm.Start(ctx, cmd); err != nil {
		return fmt.Errorf("running %q on the guest: %w", command, err)
	}
	done := make(chan int, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-ctx.Done():
		return fmt.Errorf("running %q on the guest: %w", command, context.Cause(ctx))
	case status := <-done:
		if status == packersdk.CmdDisconnect {
			return fmt.Errorf("running %q on the guest: the connection broke", command)
		}
		if status != 0 {
			return fmt.Errorf("running %q on the guest: exit status %d: %s", command, status, lastLine(complaint.String()))
		}
		return nil
	}
}

// shown is where complaints go beside the error: where the output is shown, they
// are shown among it.
func (g *guest) shown(out io.Writer) io.Writer {
	if _, kept := out.(*bytes.Buffer); kept {
		return io.Discard
	}
	return out
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	if s == "" {
		return "it said nothing"
	}
	return s
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// payload is the scripts, as they are uploaded.
func payload() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	err := fs.WalkDir(scripts, "scripts", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := scripts.ReadFile(name)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = zip.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("packing our scripts: %w", err)
	}
	return out.Bytes(), nil
}
