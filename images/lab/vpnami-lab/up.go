// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// labFlags are the options of a lab as flags.
func labFlags(cmd *cobra.Command, o *lab.Options) {
	engine := os.Getenv("LAB_VM")
	if engine == "" {
		engine = string(lab.Nspawn)
	}
	cmd.Flags().StringVar(&o.Image, "image", "build/image", "folder of the baked image")
	cmd.Flags().StringVar((*string)(&o.Engine), "engine", engine, "nspawn (seconds) or qemu (a whole machine); LAB_VM")
	cmd.Flags().StringVar(&o.Moto, "moto", "", "moto_server (default: on PATH)")
	cmd.Flags().StringVar(&o.MetadataMock, "metadata-mock", "", "ec2-metadata-mock (default: beside this program, or on PATH)")
}

func complete(f *flags, o *lab.Options) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	o.Name, o.Program, o.Log = f.name, program, f.logger()
	return nil
}

func upCommand(f *flags) *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "make the VPC; nothing is launched yet",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := complete(f, &o); err != nil {
				return err
			}
			l, err := lab.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, e := range l.AWSEnv() {
				fmt.Fprintln(cmd.OutOrStdout(), e)
			}
			return nil
		},
	}
	labFlags(cmd, &o)
	return cmd
}

func downCommand(f *flags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "remove everything of the lab",
		Example: "  vpnami-lab down\n  vpnami-lab down --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all && cmd.Flags().Changed("name") {
				return errors.New("taking labs down: --all and --name exclude each other")
			}
			if os.Geteuid() != 0 {
				return errors.New("taking the lab down: it needs root; run it with sudo")
			}
			if all {
				return downAll(cmd.Context(), cmd.OutOrStdout(), f.logger())
			}
			return lab.Down(cmd.Context(), f.name, f.logger())
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every lab on this machine, also what a killed one left")
	return cmd
}

func downAll(ctx context.Context, w io.Writer, log *slog.Logger) error {
	names, err := lab.Names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		// One that resists must not keep the others.
		if err := lab.Down(ctx, name, log); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(w, "lab %s is taken down\n", name)
	}
	return errors.Join(errs...)
}
