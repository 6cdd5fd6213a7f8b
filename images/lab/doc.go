// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package lab is an Amazon VPC on one machine: the network of the article,
// made of Linux network namespaces, with instances that boot a baked image.
// It runs on any Debian or Ubuntu host as root, for `make demo` and for the
// verification suite; it never runs on an instance.
//
// What is real: the image and its systemd (under systemd-nspawn, or as a
// whole machine under qemu), OpenVPN on both sides, SSH, the packets. What
// stands in: moto for the AWS API, AWS's own metadata mock for IMDS, and this
// package for the VPC itself: its routing, its address translation, and its
// security groups, which are enforced on packets from what EC2 currently says.
//
//	namespace            holds
//	vpnami-NAME-inet     router of the internet: 198.51.100.0/24 (hosts), 203.0.113.0/24 (public addresses)
//	vpnami-NAME-HOST     one host on the internet (client1, desk, ...)
//	vpnami-NAME-vpc      the fabric and internet gateway: one port per instance, DHCP, DNS, nftables
//	vpnami-NAME-aws      moto behind the API's front at 192.0.2.10, metadata at 169.254.169.254
//	vpnami-NAME-INSTANCE one instance, interface ens5
//
// [Up] builds it and starts the agent, a process of its own that outlives its
// caller: it answers the AWS API in front of moto, brings what EC2 says into
// force (a changing call returns when its effect is on the wire), and boots,
// reboots and ends machines. [Down] removes everything by name, also after any
// part was killed. Nothing is made in the host's own network namespace.
package lab
