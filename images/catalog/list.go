// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// listed is one image of the list, and its form with --json.
type listed struct {
	image
	// Parameters name it: the whole names.
	Parameters []string `json:"parameters"`
}

func (k *keeper) listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the AMIs and which of them is launched",
		Long: `Shows the account's own AMIs of vpnami in the region, the newest of each release
and architecture first. "latest" stands at the one that is launched now,
"promoted" at one that was or can be.

It needs ec2:DescribeImages and, on the parameters, ssm:GetParametersByPath.`,
		Example: "  vpnami-images list\n  vpnami-images list --json",
		Args:    exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), verbWait)
			defer cancel()
			a, err := openAccount(ctx, k.region)
			if err != nil {
				return err
			}
			images, err := readImages(ctx, a.ec2)
			if err != nil {
				return err
			}
			parameters, err := shelf{a.ssm, k.parameters}.all(ctx)
			if err != nil {
				return err
			}
			all := entitle(images, parameters)
			if asJSON {
				return k.sayJSON(all)
			}
			if len(all) == 0 {
				k.say("%s has no AMI of vpnami; \"packer build images\" makes one", a.region)
				return nil
			}
			return k.sayTable(all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for a program")
	return cmd
}

// entitle says of each image which parameters name it.
func entitle(images []image, parameters map[string]string) []listed {
	all := make([]listed, 0, len(images))
	for _, i := range images {
		l := listed{image: i, Parameters: []string{}}
		for name, id := range parameters {
			if id == i.ID {
				l.Parameters = append(l.Parameters, name)
			}
		}
		slices.Sort(l.Parameters)
		all = append(all, l)
	}
	return all
}

func (l listed) standing(now time.Time) string {
	var words []string
	for _, name := range l.Parameters {
		if strings.HasSuffix(name, "/"+latest) {
			words = append(words, latest)
		} else {
			words = append(words, "promoted")
		}
	}
	if l.Unfinished {
		words = append(words, "unfinished")
	}
	if l.State != "available" {
		words = append(words, l.State)
	}
	if l.Deprecated != nil {
		if l.Deprecated.After(now) {
			words = append(words, "deprecated from "+l.Deprecated.Format(time.DateOnly))
		} else {
			words = append(words, "deprecated")
		}
	}
	return strings.Join(words, ", ")
}

func (k *keeper) sayTable(all []listed) error {
	w := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AMI\tRELEASE\tPROCESSOR\tVERSION\tBAKED\tCOMMIT\tSTANDING")
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Release, l.Architecture, l.Version, l.Build, l.Commit, l.standing(k.now()))
	}
	return w.Flush()
}

func (k *keeper) sayJSON(v any) error {
	e := json.NewEncoder(k.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
