// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command vpnami-firstboot makes an instance what it was launched as. It runs
// on the EC2 instance, as root, at every boot (vpnami-firstboot.service), and
// exits: nothing of it stays resident. A timer runs it as well, to bring in what
// has been published since ([boot.sync], vpnami-sync.timer).
//
// One page reads downward, [boot.become]: identify, configure, unseal, render,
// admit, place, start, prove, seal, report, most in a file of their own. What
// fails ends in [boot.resume], which goes back to what was proven last. Data flows once: first
// everything that needs the network, then what is pure, then what writes. Each
// step may run again after a crash at any point.
//
// # How it ends
//
//	ready     the tunnel is proven, or the bastion's rules stand    exit 0
//	waiting   something it needs is not there (yet)                 exit 75
//	refused   something it was given, or the machine, is wrong      exit 78
//	degraded  the last good state runs; something keeps it old      exit 69
//
// Degraded is also a gateway that does all it was launched for but to tell everybody
// apart, because EC2 has not assigned their addresses ([OwnEnd.lack]). That exits with
// 0: a sync sees when they are.
//
// Every exit but 0 makes the unit run it again, with growing pauses. What
// the command line got wrong exits with 64, and with 1 what status or
// check-image found.
//
// # Size
//
// The program is in every image and is copied into it by every bake: at most
// 10 MB (CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -tags
// nethttpomithttp2; 9.75 MB in November 2026). The tag leaves out HTTP/2 (0.36
// MB): what is asked here speaks HTTP/1.1 as well. Two imports would break the
// bound: the SDK's config (sign-on services that no instance uses, 1.9 MB) and
// text/template (it keeps every method of every type alive, 2.6 MB), which is why
// files are rendered with fmt.
//
// Of what is resident in a run, 13 MiB, most are pages of the program's own file:
// the kernel maps the 64 KiB around each that is touched, which comes to nearly
// all of it. The rest is Go's runtime with a heap of 3 MiB, the smallest at which
// it collects.
//
// # Time
//
// A first boot takes some fifteen times a bare start of OpenVPN (make bench). Of
// its 130 to 180 ms on an idle core, 45 are what systemd takes to make the
// daemon's sandbox, mostly the mounts, whichever options are left out; as many,
// beside these, are the probe's. OpenVPN itself takes 10 to start and the
// handshake 10. The questions take 30 with stand-ins on the machine. Where the
// packet filter is loaded anew, as on a true first boot, that adds 80 to 100: the
// kernel waits for its readers at each table.
//
// # What it takes from the image
//
//   - openvpn-server@vpn.service, enabled nowhere, which reads
//     /etc/openvpn/server/vpn.conf, a link to /var/lib/vpnami/current/server.conf.
//   - netfilter-persistent.service with an ExecReload= that loads both files: a
//     restart would take openvpn down with it (Requires=), a reload swaps the
//     rules and no session feels it. Without the line it is restarted.
//   - /usr/lib/vpnami/admit, OpenVPN's client-connect hook, which reads
//     /var/lib/vpnami/current/serials. The tests here run the image's own.
//   - user and group vpnami-openvpn.
//   - vpnami-probe.service, the proving client, which runs as vpnami-openvpn;
//     it and openvpn-server@vpn.service start "vpnami-firstboot check-readable",
//     as that user, which then becomes OpenVPN. Before that, both wait until the
//     packet filter is loaded, and the probe's until the daemon listens: they may
//     be started first.
//   - for its own units: root without a capability, in the group
//     vpnami-openvpn; write access to /var/lib/vpnami and /etc/iptables, and
//     /dev/console. It loads no rules itself (netfilter-persistent does),
//     becomes nobody else, and asks systemd at its own socket, without the
//     message bus.
//   - /etc/iptables/rules.v4 and rules.v6, the same as its own base rules; a
//     test compares them.
package main
