// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What every image promises; the methods return what does not keep to it.

// packetFilter looks for the lines without which the rules files would let
// something through, and for the link that has them loaded.
func (i image) packetFilter() ([]string, error) {
	found, err := i.absent("etc/systemd/system/multi-user.target.wants/netfilter-persistent.service")
	found = append(found, i.masked("netfilter-persistent.service")...)
	for _, file := range [][2]string{{"etc/iptables/rules.v4", "169.254.0.0/16"}, {"etc/iptables/rules.v6", "fd00:ec2::/32"}} {
		data, failed := i.read(file[0])
		if failed != nil {
			return nil, failed
		}
		for _, want := range []string{":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", "-A PREROUTING -i tun0 -d " + file[1] + " -j DROP"} {
			if !strings.Contains("\n"+string(data), "\n"+want+"\n") {
				found = append(found, "/"+file[0]+" (no line \""+want+"\")")
			}
		}
		// What makes nothing of the rest.
		for _, never := range []string{"-A INPUT -j ACCEPT", "-A FORWARD -j ACCEPT", "-P INPUT ACCEPT", "-P FORWARD ACCEPT"} {
			if strings.Contains("\n"+string(data), "\n"+never+"\n") {
				found = append(found, "/"+file[0]+" (has the line \""+never+"\")")
			}
		}
		if strings.Count("\n"+string(data), "\n*filter\n") > 1 {
			found = append(found, "/"+file[0]+" (has the table filter twice)")
		}
	}
	return found, err
}

// forwarding: the last file that sets it counts, in the order of their names
// whatever their folder, and sysctl.conf is read last by the distributions.
func (i image) forwarding() ([]string, error) {
	const key = "net.ipv4.ip_forward"
	files, err := i.matches("etc/sysctl.d/*.conf", "usr/lib/sysctl.d/*.conf", "run/sysctl.d/*.conf")
	if err != nil {
		return nil, err
	}
	for n, path := range files {
		files[n] = filepath.Base(path) + path
	}
	slices.Sort(files)
	last, where := "", "/etc/sysctl.d"
	for _, path := range append(files, "/etc/sysctl.conf") {
		path = path[strings.IndexByte(path, '/'):]
		data, err := i.read(path)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(strings.ReplaceAll(line, "/", "."), "=")
			name = strings.TrimPrefix(strings.TrimSpace(name), "-")
			if name == key || name == "net.ipv4.conf.all.forwarding" { // the same switch
				last, where = strings.TrimSpace(value), path
			}
		}
	}
	if last == "1" {
		return nil, nil
	}
	return []string{where + " (" + key + " is " + orNothing(last) + ")"}, nil
}

// sshd compares what sshd makes of its configuration with what is promised: the
// first value of a keyword counts for all, and what stands below a Match for some.
func (i image) sshd() ([]string, error) {
	said := sshdSaid{first: map[string]string{}}
	if err := i.sshdFile("etc/ssh/sshd_config", &said); err != nil {
		return nil, err
	}
	var found []string
	for _, want := range [][2]string{
		{"passwordauthentication", "no"}, {"kbdinteractiveauthentication", "no"}, {"authenticationmethods", "publickey"},
		{"permitrootlogin", "no"}, {"allowagentforwarding", "no"}, {"x11forwarding", "no"}, {"permittunnel", "no"},
	} {
		if got := said.first[want[0]]; got != want[1] {
			found = append(found, "/etc/ssh/sshd_config ("+want[0]+" is "+orNothing(got)+")")
		}
		for _, below := range said.below {
			if below[0] == want[0] && below[1] != want[1] {
				found = append(found, "/etc/ssh/sshd_config (for some "+want[0]+" is "+orNothing(below[1])+")")
			}
		}
	}
	return found, nil
}

// sshdSaid is what the files say: for all, and below a Match, which overrules that.
type sshdSaid struct {
	first map[string]string
	below [][2]string
}

func (i image) sshdFile(path string, said *sshdSaid) error {
	data, err := i.read(path)
	if err != nil {
		return err
	}
	matched := false // to the end of the file
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(strings.Replace(line, "=", " ", 1))
		if len(words) < 2 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch keyword := strings.ToLower(words[0]); keyword {
		case "match":
			matched = true
		case "include":
			for _, pattern := range words[1:] {
				files, err := i.matches(pattern)
				if err != nil {
					return err
				}
				for _, file := range files {
					if err := i.sshdFile(file, said); err != nil {
						return err
					}
				}
			}
		default:
			value := strings.ToLower(strings.Join(words[1:], " "))
			if matched {
				said.below = append(said.below, [2]string{keyword, value})
			} else if _, set := said.first[keyword]; !set {
				said.first[keyword] = value
			}
		}
	}
	return nil
}

// units: AWS wants an image that its owner can administer, and so do we.
func (i image) units() ([]string, error) {
	found, err := i.absent("etc/systemd/system/multi-user.target.wants/vpnami-firstboot.service", "etc/systemd/system/timers.target.wants/vpnami-sync.timer")
	if err != nil {
		return nil, err
	}
	found = append(found, i.masked("vpnami-firstboot.service", "vpnami-sync.timer", "vpnami-sync.service", "openvpn-server@vpn.service", "ssh.service")...)
	ssh, err := i.matches("etc/systemd/system/multi-user.target.wants/ssh.service", "etc/systemd/system/sockets.target.wants/ssh.socket")
	if len(ssh) == 0 {
		found = append(found, "/etc/systemd/system (neither ssh.service nor ssh.socket is enabled)")
	}
	return found, err
}

// masked returns those of the units that cannot be started, whatever wants them.
func (i image) masked(units ...string) []string {
	var found []string
	for _, unit := range units {
		path := "etc/systemd/system/" + unit
		if to, err := os.Readlink(filepath.Join(i.root, path)); err == nil && to == "/dev/null" {
			found = append(found, "/"+path+" (is masked)")
		}
	}
	return found
}

// absent returns those of the paths where nothing is.
func (i image) absent(paths ...string) ([]string, error) {
	var found []string
	for _, path := range paths {
		there, err := i.matches(path)
		if err != nil {
			return nil, err
		}
		if len(there) == 0 {
			found = append(found, "/"+path+" (is not there)")
		}
	}
	return found, nil
}

func orNothing(value string) string {
	if value == "" {
		return "not set"
	}
	return "\"" + value + "\""
}
