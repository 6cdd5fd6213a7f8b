// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// startDHCP starts dnsmasq as the VPC's DHCP server and resolver. It knows
// the VPC's own names only; every other name does not exist, at once.
func (a *Agent) startDHCP(context.Context) error {
	dir := runDir(a.options.Name)
	for _, f := range []string{"dhcp-hosts", "dns-hosts"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			return err
		}
	}
	cmd, err := a.startProcess(a.topology.vpc, "dnsmasq.log", "dnsmasq",
		"--conf-file=/dev/null", "--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--user=root", "--pid-file",
		"--bind-dynamic", "--interface=p-*", "--listen-address="+vpcResolver, "--no-resolv", "--no-hosts", "--no-ping",
		"--dhcp-range=10.0.0.0,static,255.255.0.0,1h", "--dhcp-authoritative", "--leasefile-ro",
		"--dhcp-hostsfile="+filepath.Join(dir, "dhcp-hosts"), "--addn-hosts="+filepath.Join(dir, "dns-hosts"),
		"--dhcp-option=option:router,"+vpcRouter, "--dhcp-option=option:dns-server,"+vpcResolver,
		fmt.Sprintf("--dhcp-option=option:mtu,%d", vpcMTU), "--domain="+internalDomain, "--dhcp-option=option:domain-name,"+internalDomain,
		"--address=/#/")
	if err != nil {
		return err
	}
	// nsenter becomes dnsmasq: its pid is the one to tell.
	return os.WriteFile(filepath.Join(dir, "dnsmasq.pid"), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600)
}

const internalDomain = Region + ".compute.internal"

// writeHosts gives dnsmasq the leases and names, and has it read them.
func (a *Agent) writeHosts(look snapshot) error {
	var leases, names strings.Builder
	for _, i := range look.instances {
		nic := i.NetworkInterfaces[0]
		address, host := aws.ToString(nic.PrivateIpAddress), hostnameOf(i)
		fmt.Fprintf(&leases, "%s,%s,%s\n", aws.ToString(nic.MacAddress), address, host)
		fmt.Fprintf(&names, "%s %s.%s %s\n", address, host, internalDomain, host)
	}
	dir := runDir(a.options.Name)
	changed := false
	for file, content := range map[string]string{"dhcp-hosts": leases.String(), "dns-hosts": names.String()} {
		path := filepath.Join(dir, file)
		old, err := os.ReadFile(path)
		if err == nil && string(old) == content {
			continue
		}
		changed = true
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("writing DHCP leases: %w", err)
		}
	}
	if !changed {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, "dnsmasq.pid"))
	if err != nil {
		return fmt.Errorf("telling dnsmasq: %w", err)
	}
	var pid int
	if _, err := fmt.Sscan(string(data), &pid); err != nil {
		return fmt.Errorf("telling dnsmasq: %w", err)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("telling dnsmasq (see %s): %w", filepath.Join(logDir(a.options.Name), "dnsmasq.log"), err)
	}
	return nil
}
