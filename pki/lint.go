// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
)

func (d *desk) lintCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint FILE",
		Short: "Tell what OpenVPN 2.6 and 2.7 make of an old configuration",
		Long: `Reads a server.conf or an .ovpn and tells of each directive what OpenVPN 2.6 and
2.7 do with it, and what to write instead; and then what is missing. Nothing is
changed, and no file that the configuration names is looked at.

Exit code 3 tells that there is something to do.`,
		Example: `  vpnami-pki lint /etc/openvpn/server.conf
  vpnami-pki lint client1.ovpn --json`,
		Args: exactly(1, "one FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := readUpTo(args[0], directives.MaxBytes)
			if err != nil {
				return fmt.Errorf("reading the configuration: %w", err)
			}
			lines, err := directives.Parse(text)
			if err != nil {
				return fmt.Errorf("reading the configuration %q: %w", args[0], err)
			}
			if len(lines) == 0 {
				return fmt.Errorf("reading the configuration %q: there is no directive in it", args[0])
			}
			findings := directives.Lint(lines)
			if asJSON {
				if err := d.encode(findings); err != nil {
					return err
				}
				return verdict(findings)
			}
			d.say("%s is of a %s:", shown(args[0]), directives.RoleOf(lines))
			if err := d.tellFindings(findings); err != nil {
				return err
			}
			return verdict(findings)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "a list of objects, for programs")
	return cmd
}

func (d *desk) tellFindings(findings []directives.Finding) error {
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LINE\tDIRECTIVE\t2.6\t2.7\tWRITE INSTEAD")
	for _, f := range findings {
		line := "-"
		if f.Line > 0 {
			line = fmt.Sprint(f.Line)
		}
		say := f.Instead
		if f.Why != "" {
			if say != "" {
				say += " - "
			}
			say += f.Why
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", line, shown(f.Directive), f.On26, f.On27, say)
	}
	return table.Flush()
}

// verdict is the exit code of it all.
func verdict(findings []directives.Finding) error {
	for _, f := range findings {
		if f.Instead != "" || f.On26 == directives.Fatal || f.On26 == directives.Unknown || f.On27 == directives.Fatal {
			return errToDo
		}
	}
	return nil
}
