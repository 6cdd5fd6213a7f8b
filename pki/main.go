// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command vpnami-pki is the operator's desk: it keeps the certificate
// authority of a VPN on the operator's own machine, writes people's profiles,
// and publishes to AWS Secrets Manager what a gateway needs. It never runs on
// the gateway.
//
// What a person is to read goes to standard output, and with --json what a
// program is to read; prompts, warnings and errors go to standard error, with
// "vpnami-pki:" before an error.
//
// There are two programs of this package. vpnami-pki-aws has all verbs.
// vpnami-pki, built with the tag noaws, has all but what speaks with AWS, for
// which it becomes the other: the program that opens the CA's key has no HTTP,
// no TLS and no SDK in it, and does not spend a third of its time on the tables
// that the SDK makes at each start (see "make bench").
package main

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// Set by the linker, whose -X needs variables.
var (
	version = "0.1.0-dev"
	commit  = "unknown" //nolint:gochecknoglobals // as above
)

// besideName is the program that has all verbs.
const besideName = "vpnami-pki-aws"

// fromRelease is the environment variable by which vpnami-pki tells the program
// beside it of which release it is.
const fromRelease = "VPNAMI_PKI_RELEASE"

// The exit codes, documented in --help.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitToDo   = 3 // "check" or "lint" found something to do
)

// run is the program, which speaks with KMS by kms. Where another program does
// that in its place, become makes this process that program.
func run(kms keyOpener, become func(authority.Folder) error) int {
	out := &told{to: os.Stdout}
	d := &desk{in: os.Stdin, out: out, err: os.Stderr, env: os.LookupEnv, now: time.Now, kms: kms, become: become}
	err := checkBeside()
	if err == nil {
		err = d.command(os.Args[1:]).ExecuteContext(context.Background())
	}
	if err == nil || errors.Is(err, errToDo) {
		// What nobody was told is not done for a script that waits for it.
		if failed := errors.Join(d.noHelp, out.failed); failed != nil {
			err = failed
		}
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errToDo) {
		return exitToDo
	}
	fmt.Fprintf(os.Stderr, "vpnami-pki: %v\n", err)
	if wrong, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(os.Stderr, "see %q\n", wrong.command+" --help")
		return exitUsage
	}
	return exitFailed
}

// told is standard output, and remembers that something could not be written.
type told struct {
	to     *os.File
	failed error
}

// Fd is for whoever asks whether it is a terminal.
func (t *told) Fd() uintptr { return t.to.Fd() }

// Write passes on what is written, until that fails.
func (t *told) Write(text []byte) (int, error) {
	n, err := t.to.Write(text)
	if err != nil && t.failed == nil {
		t.failed = fmt.Errorf("telling what was done, or found: %w: unless another error says so, it is done", err)
	}
	return n, err
}

// interruptible is for what is long and has a good place to stop. Everything
// else an interrupt ends as a kill does, which leaves nothing by half.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	// Nor does the end of who reads what is said ("| grep -q"), which would end the
	// program half-way; it is told at the end.
	signal.Ignore(syscall.SIGPIPE)
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// desk is what the commands work with.
type desk struct {
	in  *os.File
	out io.Writer
	err io.Writer
	env func(string) (string, bool)
	now func() time.Time
	kms keyOpener
	// become is called before anything is read or asked for.
	become func(authority.Folder) error

	folder         string
	passphraseFile string
	noHelp         error // why help could not be given, which cobra passes over
}

// keyOpener opens a key that AWS KMS holds.
type keyOpener func(ctx context.Context, arn string) (crypto.Signer, error)

// usageError is a command line that cannot be meant.
type usageError struct {
	command string
	error
}

func (e usageError) Unwrap() error { return e.error }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// command is the command line, with the verb that the arguments name, or all.
func (d *desk) command(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "vpnami-pki",
		Short: "Keep the certificate authority of a VPN and publish it to its gateway",
		Long: `vpnami-pki keeps the certificate authority of an OpenVPN gateway on your own
machine. The CA's key never leaves it.

A folder holds one authority. It is given by --folder, or VPNAMI_AUTHORITY, or
is the current folder when that is an authority.

The passphrase of the CA's key is asked for at the terminal, or read from the
file of --passphrase-file or VPNAMI_PASSPHRASE_FILE, or is VPNAMI_PASSPHRASE.

Exit codes: 0 done, 1 failed (nothing is changed unless the error says so),
2 the command line is wrong, 3 "check" or "lint" found something to do.`,
		Example: `  vpnami-pki init office --server-name vpn.example.com
  vpnami-pki issue client1 --folder office
  vpnami-pki publish --folder office --secret vpn/office
  vpnami-pki reach client1.ovpn`,
		Version:       version + " (" + commit + ")",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(d.out)
	root.SetErr(d.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	fitHelp(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%w", err) })
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return checkGiven(cmd) }
	verbs := d.verbs()
	// Of many verbs the one that is given is enough: to make all of them is a
	// fortieth of what issuing takes.
	if given := slices.IndexFunc(verbs, func(v verb) bool { return len(args) > 0 && v.name == args[0] }); given >= 0 {
		verbs = verbs[given : given+1]
		root.CompletionOptions.DisableDefaultCmd = true
	}
	for _, v := range verbs {
		root.AddCommand(v.command())
	}
	if len(args) > 0 && args[0] == "help" {
		root.InitDefaultHelpCmd()
		for _, cmd := range root.Commands() {
			if cmd.Name() == "help" {
				cmd.Args = checkTopic // cobra's own takes whatever it is given
			}
		}
	}
	return root
}

// checkTopic refuses to give help for what is no command.
func checkTopic(cmd *cobra.Command, args []string) error {
	if _, rest, _ := cmd.Root().Find(args); len(rest) > 0 {
		return usage(cmd, "unknown command %q", rest[0])
	}
	return nil
}

// verb is what a command line begins with.
type verb struct {
	name    string
	command func() *cobra.Command
}

func (d *desk) verbs() []verb {
	return []verb{
		{"init", d.initCommand},
		{"issue", d.issueCommand},
		{"renew", d.renewCommand},
		{"revoke", d.revokeCommand},
		{"crl", d.crlCommand},
		{"renew-server", d.renewServerCommand},
		{"rollover", d.rolloverCommand},
		{"list", d.listCommand},
		{"show", d.showCommand},
		{"check", d.checkCommand},
		{"roster", d.rosterCommand},
		{"publish", d.publishCommand},
		{"reach", d.reachCommand},
		{"lint", d.lintCommand},
		{"import-easyrsa", d.importEasyRSACommand},
		{"migration", d.migrationCommand},
	}
}

func (d *desk) folderFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.folder, "folder", "", "folder of the authority (default: VPNAMI_AUTHORITY, or the current folder)")
}

func (d *desk) passphraseFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.passphraseFile, "passphrase-file", "", "file with the passphrase of the CA's key on its only line (default: VPNAMI_PASSPHRASE_FILE)")
}

// open finds and opens the authority.
func (d *desk) open(cmd *cobra.Command) (authority.Folder, error) {
	path := d.folder
	if path == "" {
		path, _ = d.env("VPNAMI_AUTHORITY")
	}
	if path == "" {
		if !authority.IsFolder(".") {
			return authority.Folder{}, usage(cmd, "no authority is given: use --folder FOLDER or VPNAMI_AUTHORITY, or run in the authority's folder")
		}
		path = "."
	}
	folder, err := authority.Open(filepath.Clean(path))
	if err == nil {
		d.warnOpenTo(folder)
	}
	return folder, err
}

// warnOpenTo tells of a folder that a copy left open to others: the CA's key in
// it is encrypted, the gateway's are not.
func (d *desk) warnOpenTo(folder authority.Folder) {
	if info, err := os.Stat(folder.Path()); err == nil && openToOthers(info.Mode()) {
		d.warn("the folder %q can be read by others (mode %04o), and the gateway's keys in it are not encrypted: chmod 700 it", folder.Path(), info.Mode().Perm())
	}
}

func (d *desk) say(format string, args ...any)  { fmt.Fprintf(d.out, format+"\n", args...) }
func (d *desk) warn(format string, args ...any) { fmt.Fprintf(d.err, "warning: "+format+"\n", args...) }

// encode is what --json says.
func (d *desk) encode(v any) error {
	encoder := json.NewEncoder(d.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// checkGiven refuses a flag whose value is empty, as by a script whose variable
// is not set: a key would be made where it was not wanted. A note may be empty.
func checkGiven(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "note" && err == nil {
			err = usage(cmd, "--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}
