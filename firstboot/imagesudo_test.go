// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stockSudoers is what Debian and Ubuntu have, and who has it read.
const stockSudoers = `# This file MUST be edited with the 'visudo' command as root.
Defaults	env_reset
Defaults:%sudo env_keep += "SSH_AUTH_SOCK"
Defaults	secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# User_Alias	ADMINS = millert
User_Alias ADMINS = millert, \
	mikef
root	ALL=(ALL:ALL) ALL
%admin ALL=(ALL) ALL
%sudo	ALL=(ALL:ALL) ALL
# See sudoers(5) for more information on "@include" directives:
`

// TestCheckImageSudoers has what Debian and Ubuntu have in their images and after a
// launch, and what gives somebody more.
func TestCheckImageSudoers(t *testing.T) {
	const (
		somebody = "somebody ALL=(ALL) NOPASSWD: ALL"
		dropIn   = "etc/sudoers.d/90-x"
		launch   = "etc/sudoers.d/90-cloud-init-users"
		ubuntu   = "# Created by cloud-init v. 26.1\n\n# User rules for ubuntu\nubuntu ALL=(ALL) NOPASSWD:ALL\n"
		named    = "users:\n- default\nsystem_info:\n  default_user:\n    name: ubuntu\n"
	)
	at := func(path, line string) string { return "/" + path + " (" + line + ")" }
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"stock":                        {nil, ""},
		"a drop-in":                    {map[string]string{dropIn: somebody + "\n"}, at(dropIn, somebody)},
		"a drop-in in one line":        {map[string]string{dropIn: somebody}, at(dropIn, somebody)},
		"a drop-in by number":          {map[string]string{dropIn: "#1000 ALL=(ALL) NOPASSWD: ALL\n"}, at(dropIn, "#1000 ALL=(ALL) NOPASSWD: ALL")},
		"a comment":                    {map[string]string{dropIn: "#" + somebody + "\n# " + somebody + "\n#\n"}, ""},
		"a comment does not go on":     {map[string]string{dropIn: "# root \\\n" + somebody + "\n"}, at(dropIn, somebody)},
		"nor does one behind":          {map[string]string{dropIn: "root ALL=(ALL) ALL # \\\n" + somebody + "\n"}, at(dropIn, somebody)},
		"a line goes on":               {map[string]string{dropIn: "somebody \\\n  ALL=(ALL) NOPASSWD: ALL\n"}, at(dropIn, "somebody   ALL=(ALL) NOPASSWD: ALL")},
		"to the end":                   {map[string]string{dropIn: "somebody ALL=ALL\\"}, at(dropIn, "somebody ALL=ALL")},
		"somebody beside root":         {map[string]string{dropIn: "root, somebody ALL=(ALL) ALL\n"}, at(dropIn, "root, somebody ALL=(ALL) ALL")},
		"somebody after root":          {map[string]string{dropIn: "root ,somebody ALL=(ALL) ALL\n"}, at(dropIn, "root ,somebody ALL=(ALL) ALL")},
		"everybody, for nothing":       {map[string]string{dropIn: "Defaults !authenticate\n"}, at(dropIn, "Defaults !authenticate")},
		"a group, for nothing":         {map[string]string{dropIn: "Defaults:ALL umask=0022, exempt_group=users\n"}, at(dropIn, "Defaults:ALL umask=0022, exempt_group=users")},
		"the group, for nothing":       {map[string]string{dropIn: "%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n"}, at(dropIn, "%sudo ALL=(ALL:ALL) NOPASSWD: ALL")},
		"a name that sudo leaves":      {map[string]string{"etc/sudoers.d/x.dpkg-old": somebody, "etc/sudoers.d/x~": somebody}, ""},
		"what nobody includes":         {map[string]string{"etc/sudoers.old": somebody, "etc/sudoers-rs.d/x": somebody}, ""},
		"an include":                   {map[string]string{dropIn: "@include \"../my sudoers\"\n", "etc/my sudoers": somebody}, at("etc/my sudoers", somebody)},
		"an include as of old":         {map[string]string{dropIn: "#include /srv/my\\ sudoers\n", "srv/my sudoers": somebody}, at("srv/my sudoers", somebody)},
		"an include by name":           {map[string]string{dropIn: "@include /etc/sudoers.%h\n", "etc/sudoers.gw": somebody}, at("etc/sudoers.gw", somebody)},
		"an include of itself":         {map[string]string{dropIn: "@include 90-x\n"}, ""},
		"sudo-rs's own":                {map[string]string{"etc/sudoers-rs": "@includedir sudoers-rs.d\n", "etc/sudoers-rs.d/x": somebody}, at("etc/sudoers-rs.d/x", somebody)},
		"a package's":                  {map[string]string{dropIn: somebody, "var/lib/dpkg/status": "Package: x\nConffiles:\n /" + dropIn + " " + sumOf([]byte(somebody)) + "\nDescription: x\n"}, ""},
		"a package's, changed":         {map[string]string{dropIn: somebody, "var/lib/dpkg/status": "Package: x\nConffiles:\n /" + dropIn + " " + sumOf(nil) + "\nDescription: x\n"}, at(dropIn, somebody)},
		"the launch's account":         {map[string]string{launch: ubuntu, "etc/cloud/cloud.cfg": named}, ""},
		"renamed":                      {map[string]string{launch: strings.ReplaceAll(ubuntu, "ubuntu", "ops"), "etc/cloud/cloud.cfg": named, "etc/cloud/cloud.cfg.d/10-x.cfg": strings.ReplaceAll(named, "ubuntu", "ops")}, ""},
		"another one of the user-data": {map[string]string{launch: ubuntu + somebody, "etc/cloud/cloud.cfg": named}, at(launch, somebody)},
		"the launch's, elsewhere":      {map[string]string{dropIn: ubuntu, "etc/cloud/cloud.cfg": named}, at(dropIn, "ubuntu ALL=(ALL) NOPASSWD:ALL")},
		"no account of the launch's":   {map[string]string{launch: ubuntu, "etc/cloud/cloud.cfg": "system_info: ["}, at(launch, "ubuntu ALL=(ALL) NOPASSWD:ALL")},
		"Systems Manager's":            {map[string]string{"etc/sudoers.d/ssm-agent-users": "# User rules for ssm-user\nssm-user ALL=(ALL) NOPASSWD:ALL\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := cleanImage(t)
			put(t, root, "etc/sudoers", stockSudoers+"@includedir /etc/sudoers.d\n")
			for path, text := range c.files {
				put(t, root, path, text)
			}
			finds(t, root, "sudoers", c.want)
		})
	}
}

// A link leads to what is in the image, and not to what is on the machine that looks.
func TestCheckImageSudoersThroughLinks(t *testing.T) {
	root := cleanImage(t)
	put(t, root, "etc/sudoers", stockSudoers+"@includedir /etc/sudoers.d\n")
	put(t, root, "srv/rules", "somebody ALL=ALL\n")
	folder := filepath.Join(root, "etc/sudoers.d")
	if err := errors.Join(os.Mkdir(folder, 0o755), os.Symlink("../there", filepath.Join(folder, "x")), os.Symlink("/srv/rules", filepath.Join(root, "etc/there")),
		os.Symlink("circle", filepath.Join(folder, "circle"))); err != nil {
		t.Fatal(err)
	}
	finds(t, root, "sudoers", "/etc/sudoers.d/x (somebody ALL=ALL)")
}

func FuzzSudoers(f *testing.F) {
	f.Add(stockSudoers)
	f.Add("@include x\n#includedir .\nroot \\")
	f.Fuzz(func(t *testing.T, text string) {
		root := t.TempDir()
		put(t, root, "etc/sudoers", text)
		if _, err := (image{root: root}).sudoers(); err != nil && !strings.Contains(text, "include") {
			t.Error(err)
		}
	})
}
