// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
)

// Violation is something in an image that must not be in any image.
type Violation struct {
	Rule   string `json:"rule"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// imageRule is one thing to look for; find returns the paths where it is.
type imageRule struct {
	id, reason, remedy string
	find               func(image) ([]string, error)
}

// imageRules are all that is checked, as the last act of a bake.
func imageRules() []imageRule {
	return []imageRule{
		{"private-key", "a private key in an image is everybody's who can launch it", "remove the file; keys come from Secrets Manager at the first boot", image.privateKeys},
		{"ssh-host-key", "instances with the same host key can pass for each other", "remove it; the first boot makes new ones", named("etc/ssh/ssh_host_*")},
		{"machine-id", "instances with the same machine-id share DHCP identities, journals and derived secrets", "truncate it: systemd fills an empty file at the first boot", image.machineID},
		{"password", "an image is for logins with keys only", "lock the password: usermod --lock", image.passwords},
		{"authorized-key", "the owner of that key can log in to every instance", "remove it; cloud-init takes the launch's key", image.authorizedKeys},
		{"cloud-init-state", "it is of the machine that baked; cloud-init would take it for its own", "run: cloud-init clean --logs --seed", image.cloudInit},
		{"vpnami-state", "an image is nobody yet", "empty /var/lib/vpnami", image.state},
		{"shell-history", "it tells what was typed on the machine that baked, passwords too", "remove it", named("root/.*_history", "home/*/.*_history")},
		{"aws-credentials", "credentials in an image are everybody's who can launch it", "remove the folder; instances have roles", named("root/.aws/*", "home/*/.aws/*")},
		{"systemd-secret", "instances with the same seed or credential key are predictable to each other", "remove it; systemd makes it anew", named("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "boot/loader/random-seed", "boot/efi/loader/random-seed")},
	}
}

// checkImage looks for everything that must not be under a root.
func checkImage(root string) ([]Violation, error) {
	violations := []Violation{}
	for _, rule := range imageRules() {
		paths, err := rule.find(image(root))
		if err != nil {
			return nil, fmt.Errorf("checking %q for rule %q: %w", root, rule.id, err)
		}
		slices.Sort(paths)
		for _, path := range paths {
			violations = append(violations, Violation{Rule: rule.id, Path: path, Reason: rule.reason, Remedy: rule.remedy})
		}
	}
	return violations, nil
}

// imageReport is the JSON of check-image. The rules are in it so that "no
// violation" cannot be had by checking nothing.
type imageReport struct {
	Schema     int         `json:"schema"`
	Root       string      `json:"root"`
	Rules      []string    `json:"rules"`
	Violations []Violation `json:"violations"`
}

func runCheckImage(args []string, out, errors io.Writer) int {
	flags := flag.NewFlagSet("check-image", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	asJSON := flags.Bool("json", false, "")
	root := flags.String("root", "/", "")
	if err := flags.Parse(args); err != nil {
		return misused(errors, err)
	}
	if flags.NArg() > 0 {
		return misused(errors, fmt.Errorf("check-image takes no argument %q", flags.Arg(0)))
	}
	violations, err := checkImage(*root)
	if err != nil {
		_, _ = fmt.Fprintf(errors, "vpnami-firstboot: %v\n", err)
		return exitFound
	}
	report := imageReport{Schema: 1, Root: *root, Violations: violations}
	for _, rule := range imageRules() {
		report.Rules = append(report.Rules, rule.id)
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = report.print(out)
	}
	if err != nil || len(violations) > 0 {
		return exitFound
	}
	return exitReady
}

func (r imageReport) print(out io.Writer) error {
	for _, v := range r.Violations {
		if _, err := fmt.Fprintf(out, "%s: %s\n    %s\n    to do: %s\n", v.Rule, v.Path, v.Reason, v.Remedy); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "checked %d rules under %s: %d violations\n", len(r.Rules), r.Root, len(r.Violations))
	return err
}
