// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// runCheckReadable is what openvpn-server@vpn.service and vpnami-probe.service
// start, as the daemon's user and as confined as the daemon: where the caller
// can read who is revoked, it becomes the program that it is given, in the same
// process. A process of its own, as ExecStartPre=, would get the unit's whole
// sandbox made a second time, which takes longer than a start of OpenVPN. Before
// it becomes a program, it waits until the packet filter is that of the files
// which the program serves; with the configuration of a client, until the
// client's server listens.
func runCheckReadable(ctx context.Context, args []string, failed io.Writer, become func(program string, args, environment []string) error) int {
	flags := flag.NewFlagSet("check-readable", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	root := flags.String("root", "/", "")
	client := flags.String("client", "", "")
	if err := flags.Parse(args); err != nil {
		return misused(failed, err)
	}
	program := flags.Args()
	if len(program) > 0 && !filepath.IsAbs(program[0]) {
		return misused(failed, fmt.Errorf("check-readable becomes a program by its absolute path, not %q", program[0]))
	}
	if os.Geteuid() == 0 {
		return misused(failed, fmt.Errorf("check-readable tells nothing to root, who may read everything: say \"runuser -u %s -- vpnami-firstboot check-readable\"", daemonAccount))
	}
	if *client != "" {
		if err := awaitListening(ctx, *client, listenWithin); err != nil {
			_, _ = fmt.Fprintf(failed, "vpnami-firstboot: %v\n", err)
			return exitFound
		}
	}
	where := layout{root: *root}
	if len(program) > 0 {
		if err := awaitFilter(ctx, where, filterWithin); err != nil {
			_, _ = fmt.Fprintf(failed, "vpnami-firstboot: %v -- \"systemctl restart vpnami-firstboot\" loads it and starts the daemon\n", err)
			return exitFound
		}
	}
	if err := checkReadable(where.current()); err != nil {
		_, _ = fmt.Fprintf(failed, "vpnami-firstboot: %v -- the daemon would admit whom it cannot read to be revoked: look at the modes under %s\n", err, currentFolder)
		return exitFound
	}
	if len(program) == 0 {
		return exitReady
	}
	// It returns only when it has failed.
	err := become(program[0], program, os.Environ())
	_, _ = fmt.Fprintf(failed, "vpnami-firstboot: starting %q: %v\n", program[0], err)
	return exitFound
}

// checkReadable opens every file that the daemon reads per client: OpenVPN
// admits a revoked client without a word when it cannot read the file that says
// so.
func checkReadable(folder string) error {
	// Where an older vpnami-firstboot wrote the folder, it is not there, and the
	// hook refuses whom it would name.
	if err := readOne(filepath.Join(folder, boundFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{revokedFolder, "ccd", "serials"} {
		path := filepath.Join(folder, name)
		entries, err := os.ReadDir(path)
		if err != nil {
			return fmt.Errorf("reading as the daemon's user: %w", err)
		}
		for _, entry := range entries {
			if err := readOne(filepath.Join(path, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func readOne(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading as the daemon's user: %w", err)
	}
	_, err = file.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("reading as the daemon's user: %w", err)
	}
	return nil
}
