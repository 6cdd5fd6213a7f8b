// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// The verbs to play with in a lab that is left running.

func connectCommand(f *flags) *cobra.Command {
	var profile string
	cmd := &cobra.Command{
		Use:     "connect HOST",
		Short:   "connect a host on the internet to the VPN, until Ctrl-C",
		Example: "  vpnami-lab connect client1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(cmd.Context(), f.name, f.logger())
			if err != nil {
				return err
			}
			host, err := l.Host(args[0])
			if err != nil {
				return err
			}
			if profile == "" {
				profile = profilePath(l, args[0])
			}
			wait, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			session, err := host.Connect(wait, profile)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is connected: %s on %s. Ctrl-C disconnects.\n", host.Name(), session.Address(), session.Device())
			select {
			case <-cmd.Context().Done():
				return session.Close()
			case <-session.Done():
				return fmt.Errorf("the client ended by itself; end of its log:\n%s", session.Log())
			}
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", "profile (default: the one that the demo issued to HOST)")
	return cmd
}

func sshCommand(f *flags) *cobra.Command {
	var from, user string
	cmd := &cobra.Command{
		Use:     "ssh INSTANCE [COMMAND...]",
		Short:   "log in to an instance from a host on the internet, at its private address",
		Example: "  vpnami-lab ssh step\n  vpnami-lab ssh step -- journalctl -b",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(cmd.Context(), f.name, f.logger())
			if err != nil {
				return err
			}
			host, err := l.Host(from)
			if err != nil {
				return err
			}
			i, err := l.Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = attached(host.SSHCommand(cmd.Context(), user, i.PrivateAddress(), args[1:]...))
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() == 255 {
				return fmt.Errorf("logging in to %q from %q (is it connected? `vpnami-lab connect %s` in another terminal): %w", i.Name(), from, from, err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&from, "from", "client1", "host on the internet to log in from")
	cmd.Flags().StringVar(&user, "user", loginUser, "user to log in as")
	return cmd
}

func execCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:     "exec STATION -- COMMAND...",
		Short:   "run a command as root on an instance, or on a host on the internet",
		Example: "  vpnami-lab exec vpn -- vpnami-firstboot status\n  vpnami-lab exec client1 -- ip route",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(cmd.Context(), f.name, f.logger())
			if err != nil {
				return err
			}
			if host, err := l.Host(args[0]); err == nil {
				return attached(host.Command(cmd.Context(), args[1], args[2:]...))
			}
			i, err := l.Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			inside, err := i.Command(cmd.Context(), args[1:]...)
			if err != nil {
				return err
			}
			return attached(inside)
		},
	}
}

func attached(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func logsCommand(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "logs [STATION]",
		Short:   "the journal of an instance, or any other log of the lab",
		Example: "  vpnami-lab logs\n  vpnami-lab logs vpn\n  vpnami-lab logs console-vpn.log",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(cmd.Context(), f.name, f.logger())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listLogs(cmd.Context(), l, cmd.OutOrStdout())
			}
			if i, err := l.Instance(cmd.Context(), args[0]); err == nil {
				inside, err := i.Command(cmd.Context(), "journalctl", "--no-pager", "--unit=vpnami-*", "--unit=openvpn-server@*", "--unit=ssh")
				if err != nil {
					return err
				}
				return attached(inside)
			}
			text, err := os.ReadFile(filepath.Join(l.LogDir(), filepath.Base(args[0])))
			if err != nil {
				return fmt.Errorf("reading log %q (`vpnami-lab logs` lists them): %w", args[0], err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	return cmd
}

func listLogs(ctx context.Context, l *lab.Lab, w io.Writer) error {
	instances, err := l.Instances(ctx)
	if err != nil {
		return err
	}
	for _, i := range instances {
		fmt.Fprintf(w, "%s\n", i.Name())
	}
	entries, err := os.ReadDir(l.LogDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Fprintf(w, "%s\n", e.Name())
	}
	return nil
}

// standing is what status tells of an instance.
type standing struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Cause   string `json:"cause,omitempty"`
}

func statusCommand(f *flags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "the instances and what they report",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Open(cmd.Context(), f.name, f.logger())
			if err != nil {
				return err
			}
			instances, err := l.Instances(cmd.Context())
			if err != nil {
				return err
			}
			list := []standing{}
			for _, i := range instances {
				s := standing{Name: i.Name(), ID: i.ID(), Address: i.PrivateAddress().String(), State: "booting"}
				if result, err := i.Result(cmd.Context()); err == nil {
					s.State, s.Cause = result.State, result.Cause
				}
				list = append(list, s)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "NAME\tID\tADDRESS\tREPORTS\n")
			for _, s := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s %s\n", s.Name, s.ID, s.Address, s.State, s.Cause)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
