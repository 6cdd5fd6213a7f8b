// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/spf13/cobra"

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
A state is good, ends soon (within 30 days), ended, revoked, or foreign (of a CA
that is no longer in force). Of somebody with several certificates it is the one
in force that ends last; "show" has them all.`,
		Example: "  vpnami-pki list --folder office\n  vpnami-pki list --folder office --json",
		Args:    exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			people, err := folder.People()
			if err != nil {
				return err
			}
			standing, err := folder.Standing(d.now())
			if err != nil {
				return err
			}
			lines := listPeople(people, standing, d.now())
			if asJSON {
				encoder := json.NewEncoder(d.out)
				encoder.SetIndent("", "  ")
				return encoder.Encode(lines)
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
	const stateColumn = 1
	shown := table.New().
		Border(lipgloss.HiddenBorder()).BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderHeader(false).
		Headers("NAME", "STATE", "UNTIL", "SERIAL", "ADDRESS").
		StyleFunc(func(row, column int) lipgloss.Style {
			style := lipgloss.NewStyle().PaddingRight(1)
			if row == table.HeaderRow {
				return style.Bold(true)
			}
			if column == stateColumn {
				switch lines[row].State {
				case stateSoon:
					return style.Foreground(lipgloss.Yellow)
				case string(authority.Ended), string(authority.Revoked), string(authority.Foreign):
					return style.Foreground(lipgloss.Red)
				}
			}
			return style
		})
	for _, line := range lines {
		until := "-"
		if line.NotAfter != nil {
			until = day(*line.NotAfter)
		}
		shown.Row(line.title(), line.State, until, orDash(line.Serial), orDash(line.Address))
	}
	var trimmed strings.Builder
	for line := range strings.Lines(shown.String()) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	// Colours go where the output can show them, and nowhere else.
	if _, err := lipgloss.Fprint(d.out, trimmed.String()); err != nil {
		return fmt.Errorf("showing the roster: %w", err)
	}
	return nil
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
