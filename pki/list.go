// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// listed is one line of the list, and its form with --json.
type listed struct {
	Name       string     `json:"name"`
	CommonName string     `json:"common_name,omitempty"` // of imported certificates
	State      string     `json:"state"`
	NotAfter   *time.Time `json:"not_after,omitempty"`
	Serial     string     `json:"serial,omitempty"`
	Address    string     `json:"address,omitempty"`
	Groups     []string   `json:"groups,omitempty"`
	Note       string     `json:"note,omitempty"`
}

func (d *desk) listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the people of the roster",
		Long: `Shows who is in the roster, with their certificate: its state, when it ends, its
serial number, and the person's fixed tunnel address if there is one.
A state is good, ends soon (within 30 days), ended, revoked, foreign (of a CA that
is no longer in force), or not yet (made while this machine's clock was ahead). Of
somebody with several certificates it is the one in force that was issued last; "show"
has them all.`,
		Example: "  vpnami-pki list --folder office\n  vpnami-pki list --folder office --json",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			var lines []listed
			err = d.look(folder, func(folder authority.Folder) ([]error, error) {
				people, standing, doubts, err := everybody(folder, d.now())
				lines = listPeople(people, standing, d.now())
				return doubts, err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return d.encode(lines)
			}
			return d.showPeople(lines)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "a list of objects, for programs")
	d.folderFlag(cmd)
	return cmd
}

func listPeople(people []authority.Person, standing authority.Standing, now time.Time) []listed {
	lines := []listed{}
	for _, p := range people {
		line := listed{Name: p.Name, CommonName: p.CommonName, State: stateNone, Groups: p.Groups, Note: p.Note}
		if p.Address.IsValid() {
			line.Address = p.Address.String()
		}
		if c, ok := foremost(standing, p); ok {
			line.Serial, line.NotAfter, line.State = c.Serial, &c.NotAfter, stateOf(standing, c, now)
		}
		lines = append(lines, line)
	}
	return lines
}

func (d *desk) showPeople(lines []listed) error {
	if len(lines) == 0 {
		d.say("nobody is in the roster yet; \"vpnami-pki issue NAME\" adds somebody")
		return nil
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, columnGap, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tUNTIL\tSERIAL\tADDRESS")
	for _, line := range lines {
		until := "-"
		if line.NotAfter != nil {
			until = day(*line.NotAfter)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", line.title(), line.State, until, orDash(line.Serial), orDash(line.Address))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	out := text.String()
	if d.coloured() {
		out = paint(out, lines)
	}
	if _, err := io.WriteString(d.out, out); err != nil {
		return fmt.Errorf("showing the roster: %w", err)
	}
	return nil
}

const columnGap = 2

// coloured tells whether colours can be seen and are wanted
// (https://no-color.org).
func (d *desk) coloured() bool {
	file, ok := d.out.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return false
	}
	unwanted, _ := d.env("NO_COLOR")
	kind, _ := d.env("TERM")
	return unwanted == "" && kind != "" && kind != "dumb"
}

// paint colours the states of a table that is laid out. There is nothing but
// ASCII in it, so that a byte is a column.
func paint(table string, lines []listed) string {
	const bold, red, yellow, plain = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[m"
	head, rows, _ := strings.Cut(table, "\n")
	at := strings.Index(head, "STATE")
	var out strings.Builder
	out.WriteString(bold + head + plain + "\n")
	row := 0
	for text := range strings.Lines(rows) {
		state := lines[row].State
		colour := ""
		switch state {
		case stateSoon:
			colour = yellow
		case string(authority.Ended), string(authority.Revoked), string(authority.Foreign):
			colour = red
		}
		if colour != "" {
			text = text[:at] + colour + state + plain + text[at+len(state):]
		}
		out.WriteString(text)
		row++
	}
	return out.String()
}

// title is the name, and the one that an imported certificate has.
func (l listed) title() string {
	if l.CommonName == "" {
		return l.Name
	}
	return fmt.Sprintf("%s (%+q)", l.Name, l.CommonName)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// some names the first few of many.
func some(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
