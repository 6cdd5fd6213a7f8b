// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is that of a terminal that nobody has made wider.
const helpWidth = 80

// fitHelp has help keep within the width, however its source is broken into lines.
func fitHelp(root *cobra.Command) {
	give := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.Long = fitted(cmd.Long, helpWidth)
		// Flags are broken up to five beyond what they are asked to fit.
		const slop = 5
		cmd.SetUsageTemplate(strings.NewReplacer(
			".FlagUsages |", fmt.Sprintf(".FlagUsagesWrapped %d |", helpWidth-slop),
			"Use \"{{.CommandPath}} [command] --help\" for more information about a command.", "\"{{.CommandPath}} COMMAND --help\" tells more of a command.",
		).Replace(cmd.UsageTemplate()))
		give(cmd, args)
	})
}

// fitted breaks paragraphs anew. One with a line that is indented is laid out by hand,
// and stays.
func fitted(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, paragraph := range paragraphs {
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			continue
		}
		var out strings.Builder
		column := 0
		for _, word := range strings.Fields(paragraph) {
			length := len([]rune(word))
			switch {
			case column == 0:
			case column+1+length > width:
				out.WriteByte('\n')
				column = 0
			default:
				out.WriteByte(' ')
				column++
			}
			out.WriteString(word)
			column += length
		}
		paragraphs[i] = out.String()
	}
	return strings.Join(paragraphs, "\n\n")
}
