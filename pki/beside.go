// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build noaws

package main

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// becomeBeside runs this command line in the program beside this one. It
// returns only if that fails. Nothing is open or locked by then that the other
// would need: what Go opens is closed by an exec.
func becomeBeside(environment []string) error {
	here, err := os.Executable()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil {
		return fmt.Errorf("finding %s, which speaks with AWS: %w", besideName, err)
	}
	path := filepath.Join(filepath.Dir(here), besideName)
	if _, again := os.LookupEnv(fromRelease); again {
		return fmt.Errorf("running %q, which speaks with AWS: it is a copy of, or a link to, the program that does not: put the %s of the release there", here, besideName)
	}
	if err := syscall.Exec(path, append([]string{path}, os.Args[1:]...), append(environment, fromRelease+"="+version)); err != nil {
		return fmt.Errorf("running %q, which speaks with AWS: %w: it belongs beside %q, of the same release; it takes the same command line", path, err, here)
	}
	return nil
}

// withoutPassphrases is the environment of a program that opens no key, and has
// the whole of HTTP and TLS in it.
func withoutPassphrases(environment []string) []string {
	return slices.DeleteFunc(environment, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"VPNAMI_PASSPHRASE", "VPNAMI_EASYRSA_PASSPHRASE", "VPNAMI_P12_PASSWORD"}, name)
	})
}

// checkBeside has nothing to look at: nobody runs this program in their place.
func checkBeside() error { return nil }

func openKMS(context.Context, string) (crypto.Signer, error) { return nil, becomeBeside(os.Environ()) }

// becomeKeeper is called before anything is read or asked for: the other program
// begins anew, and what came through a pipe would not come again.
func becomeKeeper(folder authority.Folder) error {
	held, err := folder.HeldKeys(folder.Places())
	if err == nil && slices.ContainsFunc(held, func(arn string) bool { return arn != "" }) {
		err = becomeBeside(os.Environ()) // a CA beside it may be under a passphrase
	}
	return err
}

func (d *desk) publishCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                "publish --secret PREFIX",
		Short:              "Put what the gateway needs into AWS Secrets Manager",
		DisableFlagParsing: true, // they are the other program's
		RunE:               func(*cobra.Command, []string) error { return becomeBeside(withoutPassphrases(os.Environ())) },
	}
	// --help is answered before RunE.
	cmd.SetHelpFunc(func(*cobra.Command, []string) {
		d.noHelp = becomeBeside(withoutPassphrases(os.Environ()))
	})
	return cmd
}
