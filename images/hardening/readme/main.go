// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command readme writes images/README.md: what is in the image and why, out of
// what is laid down, its manifest, the comments in it, and the reasons for what is
// left. It runs in "make generate"; CI fails when the page is stale.
package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/vpnami/packer-plugin-vpnami/images/hardening"
	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "readme: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: readme RELEASES.go README.md; there are %d arguments", len(args))
	}
	tree, err := rootfs.Tree()
	if err != nil {
		return err
	}
	reasons, err := hardening.Load()
	if err != nil {
		return err
	}
	source, err := os.ReadFile(args[0]) //nolint:gosec // "make generate" names it
	if err != nil {
		return err
	}
	packages, err := packagesOf(source)
	if err != nil {
		return fmt.Errorf("reading packages from %q: %w", args[0], err)
	}
	var page bytes.Buffer
	if err := write(&page, tree, packages, reasons); err != nil {
		return err
	}
	return renameio.WriteFile(args[1], page.Bytes(), 0o644)
}

const head = `# The image

<!-- Made by "make generate" out of images/rootfs, its manifest and comments, and images/hardening/reasons.yaml. Do not edit. -->

What vpnami lays down in an image and why, and what others' measures find that is left as it is. "make check-image" measures the image beside the stock one; "vpnami-firstboot check-image" looks at an image from inside, as the last act of the bake and by hand.
`

func write(w io.Writer, tree []rootfs.Entry, packages []row, reasons hardening.Reasons) error {
	p := page{w: w}
	p.say("%s", head)
	p.table("Packages", "Beside those of the distribution's own cloud image; nothing is recommended along with them.", "package", packages)

	var laid []row
	for _, e := range tree {
		why := reasonOf(e)
		if why == "" {
			return fmt.Errorf("looking for the reason of %q: it has no comment at its head, and none in manifest.yaml", e.Path)
		}
		laid = append(laid, row{fmt.Sprintf("`%s`, %s", e.Path, kind(e)), why})
	}
	p.table("Laid down", "All belongs to root.", "path", laid)

	for _, e := range tree {
		if name, is := settings()[e.Path]; is {
			p.table(name, "`"+e.Path+"`", "setting", settingsOf(string(e.Data)))
		}
	}
	p.table("Left: OpenSCAP", fmt.Sprintf("Rules of `%s` that fail on Debian 12. Of the others at least %.0f %% have to pass, and %d apply at least.", reasons.OpenSCAP.Profile, reasons.OpenSCAP.Least, reasons.OpenSCAP.Applicable), "rule", rows(reasons.OpenSCAP.Exceptions))
	p.table("Left: OpenSCAP, what no image decides", "", "rule", rows(reasons.OpenSCAP.Elsewhere))
	p.table("Left: Lynis", fmt.Sprintf("What it suggests on Debian 13, where its hardening index has to be %d at least.", reasons.Lynis.Least), "test", rows(reasons.Lynis.Left))
	p.table("Left: systemd", fmt.Sprintf("Services that are exposed above %.0f of 10 on Debian 13 or 12; Ubuntu has others, which nobody has measured.", reasons.Exposure.Most), "service", rows(reasons.Exposure.Exceptions))
	return p.err
}

// row is one line of a table: what, and why.
type row struct{ what, why string }

func rows(reasons map[string]string) []row {
	var all []row
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		all = append(all, row{"`" + name + "`", reasons[name]})
	}
	return all
}

// page writes until something goes wrong, and keeps what.
type page struct {
	w   io.Writer
	err error
}

func (p *page) say(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *page) table(title, about, what string, rows []row) {
	p.say("\n## %s\n\n", title)
	if about != "" {
		p.say("%s\n\n", about)
	}
	p.say("| %s | why |\n|---|---|\n", what)
	for _, r := range rows {
		p.say("| %s | %s |\n", strings.ReplaceAll(r.what, "|", "\\|"), strings.ReplaceAll(r.why, "|", "\\|"))
	}
}

func kind(e rootfs.Entry) string {
	switch {
	case e.Mode.IsDir():
		return fmt.Sprintf("folder %04o", e.Mode.Perm())
	case e.Mode&fs.ModeSymlink != 0:
		return "link to `" + e.Target + "`"
	}
	return fmt.Sprintf("%04o", e.Mode.Perm())
}

// settings are the files whose every line has its reason above it.
func settings() map[string]string {
	return map[string]string{
		"/etc/sysctl.d/90-vpnami.conf":                "Kernel",
		"/etc/modprobe.d/vpnami.conf":                 "Modules that are not loaded",
		"/etc/ssh/sshd_config.d/10-vpnami.conf":       "sshd",
		"/etc/apt/apt.conf.d/52vpnami":                "Updates",
		"/etc/chrony/vpnami.conf":                     "Time",
		"/etc/audit/rules.d/vpnami.rules":             "Audit",
		"/etc/systemd/journald.conf.d/10-vpnami.conf": "Journal",
		"/etc/sudoers.d/vpnami":                       "sudo",
	}
}
