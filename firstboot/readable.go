// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// runCheckReadable is what openvpn-server@vpn.service and vpnami-probe.service
// run first, as the daemon's user and as confined as the daemon.
func runCheckReadable(args []string, failed io.Writer) int {
	flags := flag.NewFlagSet("check-readable", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	root := flags.String("root", "/", "")
	if err := flags.Parse(args); err != nil {
		return misused(failed, err)
	}
	if flags.NArg() > 0 {
		return misused(failed, fmt.Errorf("check-readable takes no argument %q", flags.Arg(0)))
	}
	if os.Geteuid() == 0 {
		return misused(failed, fmt.Errorf("check-readable tells nothing to root, who may read everything: say \"runuser -u %s -- vpnami-firstboot check-readable\"", daemonAccount))
	}
	if err := checkReadable(layout{root: *root}.current()); err != nil {
		_, _ = fmt.Fprintf(failed, "vpnami-firstboot: %v -- the daemon would admit whom it cannot read to be revoked: look at the modes under %s\n", err, currentFolder)
		return exitFound
	}
	return exitReady
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
	for _, name := range []string{"revoked", "ccd", "serials"} {
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
