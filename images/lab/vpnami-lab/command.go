// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// flags are what every verb takes.
type flags struct {
	name    string
	verbose bool
}

func (f *flags) logger() *slog.Logger {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func command() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:           "vpnami-lab",
		Short:         "the article's VPC on one machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&f.name, "name", "demo", "the lab's name")
	root.PersistentFlags().BoolVarP(&f.verbose, "verbose", "v", false, "tell every step")
	root.AddCommand(upCommand(&f), demoCommand(&f), connectCommand(&f), sshCommand(&f), execCommand(&f),
		logsCommand(&f), statusCommand(&f), downCommand(&f), agentCommand(&f))
	return root
}

func agentCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:    "agent",
		Short:  "the process behind a running lab (started by up)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := lab.ReadOptions(f.name)
			if err != nil {
				return err
			}
			options.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
			return lab.RunAgent(cmd.Context(), options)
		},
	}
}
