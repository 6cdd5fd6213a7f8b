// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command vpnami-images keeps the AMIs that packer made of vpnami's template:
// which one is launched, who may launch it and until when, and what nobody needs
// any more. It runs where releases are made, an engineer's machine or CI.
//
// What is launched is told by parameters of AWS Systems Manager. Each promoted
// AMI has one of its own, which never changes; "latest" names the one that is
// launched now, and its history is the way back:
//
//	/vpnami/ami/noble/amd64/0.1.0-20261126T083200Z
//	/vpnami/ami/noble/amd64/latest
//
// What a person is to read goes to standard output, and with --json what a
// program is to read; errors go to standard error, with "vpnami-images:" before.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Set by the linker, whose -X needs variables.
var (
	version = "0.1.0-dev"
	commit  = "unknown" //nolint:gochecknoglobals // as above
)

// The exit codes, documented in --help.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := &keeper{out: os.Stdout, now: time.Now}
	err := k.command().ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(os.Stderr, "vpnami-images: %v\n", err)
	if wrong, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(os.Stderr, "see %q\n", wrong.command+" --help")
		return exitUsage
	}
	return exitFailed
}

// keeper is what the commands work with.
type keeper struct {
	out io.Writer
	now func() time.Time

	region     string
	parameters string
	apply      bool
}

// usageError is a command line that cannot be meant.
type usageError struct {
	command string
	error
}

func (e usageError) Unwrap() error { return e.error }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

func (k *keeper) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "vpnami-images",
		Short: "Keep the AMIs of vpnami: promote, roll back, share, deprecate, sweep",
		Long: `vpnami-images keeps the AMIs that "packer build images" made.

A verb that changes something says what it would change and ends; with --apply it
does it. Each may be run again at any time: what is done already is left alone.

AWS credentials and region are found where the AWS command line finds them.

Exit codes: 0 done, or nothing to do, 1 failed (what was done until then is
listed), 2 the command line is wrong.`,
		Example: `  vpnami-images list
  vpnami-images promote --artifacts packer-manifest.json --apply
  vpnami-images rollback --release noble --architecture amd64 --apply
  vpnami-images sweep`,
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
	root.SetOut(k.out)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%w", err) })
	root.PersistentFlags().StringVar(&k.region, "region", "", "AWS region (default: as the AWS command line)")
	root.PersistentFlags().StringVar(&k.parameters, "parameters", "/vpnami/ami", "beginning of the names of the parameters that tell what is launched")
	root.AddCommand(k.listCommand(), k.promoteCommand(), k.rollbackCommand(), k.shareCommand(), k.deprecateCommand(), k.sweepCommand())
	return root
}

func (k *keeper) applyFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.apply, "apply", false, "do it; without, only say what would be done")
}

func (k *keeper) say(format string, args ...any) { fmt.Fprintf(k.out, format+"\n", args...) }

// exactly wants so many arguments, and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage(cmd, "%d arguments are given, and it takes %s", len(args), what)
		}
		return nil
	}
}
