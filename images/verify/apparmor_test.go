// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && (boot || offload)

package verify

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// underProfile sees that the daemon runs under its AppArmor profile, and does
// there whatever it has to. A container cannot load profiles: this needs a whole
// machine.
func underProfile(t *testing.T, vpn *lab.Instance, client, other *lab.Host) {
	t.Helper()
	daemon := func() string {
		return inside(t, vpn, "systemctl", "show", "--property=MainPID", "--value", "openvpn-server@vpn.service")
	}
	pid := daemon()
	if got := inside(t, vpn, "cat", "/proc/"+pid+"/attr/current"); got != "vpnami-openvpn (enforce)" {
		t.Errorf("AppArmor says of the daemon %q", got)
	}
	t.Logf("profiles that the kernel has: %s", strings.ReplaceAll(inside(t, vpn, "cat", "/sys/kernel/security/apparmor/profiles"), "\n", ", "))
	// root under the profile: what it lets through can be read, nothing else.
	for path, allowed := range map[string]bool{"/var/lib/vpnami/current/ca.crt": true, "/etc/shadow": false, "/var/lib/dpkg/status": false} {
		_, err := vpn.Exec(within(t, time.Minute), "systemd-run", "--quiet", "--wait", "--property=AppArmorProfile=vpnami-openvpn", "/bin/sh", "-c", "read line <"+path)
		if (err == nil) != allowed {
			t.Errorf("under the profile, reading %s: %v", path, err)
		}
	}

	theOffice.pki(t, "issue", "client3", "--folder", theOffice.authority, "--out", theOffice.profiles, "--remote", gatewayPublic.String())
	bringIn(t, vpn)
	session := connect(t, client, theOffice.profile("client1"))
	leaving := connect(t, other, theOffice.profile("client3"))
	if err := leaving.Close(); err != nil {
		t.Fatal(err)
	}
	recorded(t, vpn,
		regexp.MustCompile(`\[client3\] Peer Connection Initiated with`),
		regexp.MustCompile(`client3/\S+ SIGTERM\[soft,(remote|delayed)-exit\] received`))
	// OpenVPN writes the file anew every minute.
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(5 * time.Second) {
		status := inside(t, vpn, "cat", "/run/openvpn-server/status-vpn.log")
		if strings.Contains(status, "client1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the status file does not have the session:\n%s", status)
		}
	}
	theOffice.pki(t, "revoke", "client3", "--folder", theOffice.authority)
	bringIn(t, vpn)
	refused(t, other, theOffice.profile("client3"))
	recorded(t, vpn, regexp.MustCompile(`CN=client3, serial=\d+ is revoked`))
	if now := daemon(); now != pid {
		t.Errorf("the daemon was started again: %s, %s", pid, now)
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	// What a rule denies by name is not recorded; what no rule allows is, and the
	// one file above that nobody asked for is expected: without it, the journal would
	// not have the others either. Of the kernel: sudo records this very question.
	const expected = "/var/lib/dpkg/status"
	told := false
	for line := range strings.Lines(inside(t, vpn, "sh", "-c", `journalctl --no-pager --boot --output cat _TRANSPORT=kernel _TRANSPORT=audit | grep -F 'apparmor="DENIED"' | grep -F vpnami-openvpn || true`)) {
		if strings.Contains(line, expected) {
			told = true
			continue
		}
		t.Errorf("the profile stands in the way: %s", line)
	}
	if !told {
		t.Errorf("the journal does not have that reading %s was denied", expected)
	}
}

// bringIn publishes, and returns when the gateway has it. How soon it does by
// itself is measured on a machine that is not emulated.
func bringIn(t *testing.T, vpn *lab.Instance) {
	t.Helper()
	publish := func() string {
		return theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/office")
	}
	publish()
	generation := regexp.MustCompile(`generation (\d+)`).FindString(publish())
	for deadline := time.Now().Add(bootTime()); time.Now().Before(deadline); time.Sleep(time.Second) {
		if strings.Contains(inside(t, vpn, "vpnami-firstboot", "status"), generation+" of the secret") {
			return
		}
	}
	t.Fatalf("%q has not come in:\n%s", generation, inside(t, vpn, "vpnami-firstboot", "status"))
}

func daemonLog(t *testing.T, vpn *lab.Instance) string {
	t.Helper()
	return inside(t, vpn, "journalctl", "--no-pager", "--boot", "--output", "cat", "-u", "openvpn-server@vpn.service")
}

// recorded waits until the daemon's log has a line for each pattern.
func recorded(t *testing.T, vpn *lab.Instance, patterns ...*regexp.Regexp) {
	t.Helper()
	var log string
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		log = daemonLog(t, vpn)
		if !slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return !p.MatchString(log) }) {
			return
		}
	}
	t.Errorf("the log has no line for each of %v:\n%s", patterns, log)
}
