// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// Bounds that the project sets itself for this rehearsal; see the README. They
// are shown and fail nothing: see [over].
const (
	bakeBound  = 1.5             // times the wall time of mmdebstrap alone
	readyBound = 5 * time.Second // launch to "VPN ready", under nspawn
)

// Whole machines under emulation take minutes for what containers do in
// seconds; this is when to stop waiting, not a promise.
const (
	bootWait     = time.Minute
	bootWaitQemu = 10 * time.Minute
)

// demo is the rehearsal's options.
type demo struct {
	flags             *flags
	lab               lab.Options
	pki               string
	logs              string
	keep              bool
	bakeSeconds       float64
	mmdebstrapSeconds float64
}

func demoCommand(f *flags) *cobra.Command {
	d := demo{flags: f}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "launch, first boot, connect: the whole way with a baked image",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := complete(f, &d.lab); err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	labFlags(cmd, &d.lab)
	cmd.Flags().StringVar(&d.pki, "pki", "", "vpnami-pki (default: beside this program, or on PATH)")
	cmd.Flags().StringVar(&d.logs, "logs", "build/demo-logs", "folder for the logs of every station when something fails")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave it running and print what to play with")
	cmd.Flags().Float64Var(&d.bakeSeconds, "bake-seconds", 0, "how long the bake took, for the table")
	cmd.Flags().Float64Var(&d.mmdebstrapSeconds, "mmdebstrap-seconds", 0, "how long mmdebstrap alone took for the same packages")
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.pki, err = findBeside(d.lab.Program, "vpnami-pki", d.pki); err != nil {
		return err
	}
	show := newProgress(os.Stdout)
	r := &rehearsal{demo: d, show: show}
	r.checkBake()
	err = r.run(ctx)
	if err == nil {
		err = r.found.err()
	}
	interrupted := errors.Is(ctx.Err(), context.Canceled)
	// What follows must also happen after Ctrl-C.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err != nil && !interrupted {
		err = errors.Join(err, d.keepLogs(after, os.Stderr))
	}
	var left error
	if r.up && (!d.keep || interrupted) {
		left = show.stage(after, "take everything down", func(ctx context.Context, _ *note) error {
			return lab.Down(ctx, d.flags.name, d.lab.Log)
		})
	}
	if len(r.found.lines) > 0 && !interrupted {
		r.found.print(os.Stdout, show.paint)
	}
	if interrupted {
		return interruption(left)
	}
	if d.keep && r.lab != nil {
		r.printCommands()
	}
	return errors.Join(err, left)
}

// interruption is what Ctrl-C ends with; left is why something is still there.
func interruption(left error) error {
	if left != nil {
		return fmt.Errorf("interrupted, but not everything could be taken down (`vpnami-lab down` tries again): %w", left)
	}
	return errors.New("interrupted; everything was taken down")
}

// keepLogs leaves the logs of every station in one folder, and names it. What
// is in that folder stays: the bake and mmdebstrap have written theirs there.
func (d *demo) keepLogs(ctx context.Context, w io.Writer) error {
	dir, err := filepath.Abs(d.logs)
	if err != nil {
		return fmt.Errorf("keeping the logs: %w", err)
	}
	err = lab.CollectLogs(ctx, d.flags.name, dir, d.lab.Log)
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		fmt.Fprintf(w, "\nThe logs of every station are in %s\n", dir)
	}
	return err
}

// checkBake puts the bake, which ended before this program began, into the table.
func (r *rehearsal) checkBake() {
	bake, alone := r.demo.bakeSeconds, r.demo.mmdebstrapSeconds
	switch {
	case bake > 0 && alone > 0:
		r.found.time(bake <= bakeBound*alone, "the bake takes little more than mmdebstrap", "%.1f s, mmdebstrap alone %.1f s: %.2f times (bound %.1f)", bake, alone, bake/alone, bakeBound)
	case bake > 0:
		r.found.check(true, "the image is baked by packer build", "%.1f s", bake)
	}
}

// findBeside finds a program: as given, beside ours, or on PATH.
func findBeside(ours, name, given string) (string, error) {
	candidates := []string{given}
	if given == "" {
		candidates = []string{filepath.Join(filepath.Dir(ours), name), name}
	}
	var errs []error
	for _, c := range candidates {
		found, err := exec.LookPath(c)
		if err == nil {
			return filepath.Abs(found)
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("finding program %q (make build makes it): %w", name, errors.Join(errs...))
}

func (r *rehearsal) printCommands() {
	self := "sudo " + r.demo.lab.Program
	if r.demo.flags.name != "demo" {
		self += " --name " + r.demo.flags.name
	}
	fmt.Printf(`It is left running. To play with it:

  %[1]s connect client1         # OpenVPN client on the internet; stays until Ctrl-C
  %[1]s ssh step                # in another terminal: SSH from client1 through its tunnel
  %[1]s logs vpn                # the gateway's journal (more: logs without a name)
  %[1]s exec vpn -- bash        # root on the gateway
  %[1]s exec client1 -- bash    # a shell on the internet
  %[1]s status
  %[1]s down
`, self)
}
