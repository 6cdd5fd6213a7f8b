// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Violation is something in an image that must not be in any image.
type Violation struct {
	Rule   string `json:"rule"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// imageRule is one thing to look for: whatever has one of the names, or what find
// returns the paths of. It holds no more than constants, so that the table is data
// and no code.
type imageRule struct {
	id, reason, remedy string
	names              string // patterns, with spaces between
	find               func(image) ([]string, error)
}

func (r imageRule) paths(i image) ([]string, error) {
	if r.find == nil {
		return i.matches(strings.Fields(r.names)...)
	}
	return r.find(i)
}

// imageRules are all that is checked, as the last act of a bake: first what must
// not be in an image, then what every image promises.
func imageRules() []imageRule {
	return []imageRule{
		{"private-key", "a private key in an image is everybody's who can launch it", "remove the file; keys come from Secrets Manager at the first boot", "", image.privateKeys},
		{"ssh-host-key", "instances with the same host key can pass for each other", "remove it; the first boot makes new ones", "etc/ssh/ssh_host_*", nil},
		{"machine-id", "instances with the same machine-id share DHCP identities, journals and derived secrets", "truncate it: systemd fills an empty file at the first boot", "", image.machineID},
		{"password", "an image is for logins with keys only", "lock the password: usermod --lock", "", image.passwords},
		{"second-root", "an account with user id 0 is root under a name that nobody looks for", "remove it: userdel --force", "", image.roots},
		{"authorized-key", "the owner of that key can log in to every instance", "remove it; cloud-init takes the launch's key", "", image.authorizedKeys},
		{"cloud-init-state", "it is of the machine that baked; cloud-init would take it for its own", "run: cloud-init clean --logs --seed", "var/lib/cloud/instance var/lib/cloud/instances/* var/lib/cloud/data/* var/lib/cloud/sem/* var/lib/cloud/seed/*", nil},
		{"vpnami-state", "an image is nobody yet", "empty /var/lib/vpnami", "var/lib/vpnami/* var/lib/vpnami/.*", nil},
		{"shell-history", "it tells what was typed on the machine that baked, passwords too", "remove it", "root/.*_history home/*/.*_history", nil},
		{"aws-credentials", "credentials in an image are everybody's who can launch it", "remove the folder; instances have roles", "root/.aws/* home/*/.aws/*", nil},
		{"systemd-secret", "instances with the same seed or credential key are predictable to each other", "remove it; systemd makes it anew", "var/lib/systemd/random-seed var/lib/systemd/credential.secret boot/loader/random-seed boot/efi/loader/random-seed", nil},
		{"log", "it is of the machine that baked: addresses, names, what was installed when", "empty it, remove what was rotated away", "", image.logs},
		{"package-lists", "they are stale on the day of the launch, and make the image larger", "run: apt-get clean; rm -rf /var/lib/apt/lists/*", "var/lib/apt/lists/*_* var/cache/apt/*.bin var/cache/apt/archives/*.deb", nil},
		{"bake-leftover", "it was for the bake: daemons do not start after upgrades, old account files keep old passwords", "remove it", "usr/sbin/policy-rc.d etc/passwd- etc/shadow- etc/group- etc/gshadow- root/.ssh/known_hosts* home/*/.ssh/known_hosts*", nil},
		{"compiler", "it makes an intruder's next step easier", "remove the package that has it", "usr/bin/cc usr/bin/gcc usr/bin/gcc-* usr/bin/*-gcc* usr/bin/g++ usr/bin/g++-* usr/bin/clang* usr/bin/tcc usr/bin/as usr/bin/go usr/local/bin/*cc", nil},
		{"world-writable", "whoever has any account can change it", "run: chmod o-w; a folder for all needs the sticky bit", "", image.worldWritable},
		{"setuid", "every program that gives its caller more rights is a way to become root", "take the bit: dpkg-statoverride --update --add root root 0755", "", image.setuid},
		{"foreign-setuid", "it has the name of a program that may give its caller more rights, and is not what a package laid down there", "remove it, or install its package anew: apt-get install --reinstall", "", image.foreignSetuid},
		{"file-capability", "every caller has the capability, as with a setuid program, and no listing of modes shows it", "take it: setcap -r; or install the program's package anew", "", image.capabilities},
		{"sudoers", "whoever gets hold of that account, by whatever hole, is root, and is not asked for anything", "remove the line; the launch's own account gets its line from cloud-init, others from the launch's user-data", "", image.sudoers},
		{"openvpn-enabled", "only vpnami-firstboot starts a tunnel, when it knows what the instance is", "run: systemctl disable the unit", "etc/systemd/system/*.wants/openvpn* etc/openvpn/*.conf", nil},

		{"packet-filter", "without rules that drop by default, everything is open until the first boot is over", "lay down vpnami's rules files, and enable netfilter-persistent.service", "", image.packetFilter},
		{"forwarding", "a gateway whose kernel forgets to forward carries nothing after a reboot", "set net.ipv4.ip_forward = 1 in /etc/sysctl.d/90-vpnami.conf, and nothing else in a later file", "", image.forwarding},
		{"sshd", "keys are the only way in, and root has none", "lay down /etc/ssh/sshd_config.d/10-vpnami.conf, and keep the Include at the head of sshd_config", "", image.sshd},
		{"units", "an instance must become what it was launched as, and its owner must be able to log in", "run: systemctl enable the unit", "", image.units},
	}
}

// checkImage looks for everything that must not be under a root.
func checkImage(root string) ([]Violation, error) {
	violations := []Violation{}
	i, err := lookAt(root)
	if err != nil {
		return nil, fmt.Errorf("looking at the image %q: %w", root, err)
	}
	for _, rule := range imageRules() {
		paths, err := rule.paths(i)
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
