// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && boot

package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// recordsSudo sees that what a person asks of sudo is recorded under the account that
// she logged in with, also when she is root already, in auditd's log and in the
// journal. A container has its host's auditd: this needs a whole machine.
func recordsSudo(t *testing.T, vpn *lab.Instance) {
	t.Helper()
	if rules := inside(t, vpn, "auditctl", "-l"); !strings.Contains(rules, "-F path=/usr/bin/sudo") {
		t.Fatalf("the kernel's rules are:\n%s", rules)
	}
	// PAM as of sshd says who logs in; the second sudo is called by root.
	inUnit(t, vpn, "--wait", "--uid=1000", "--property=PAMName=sshd", "sudo", "-n", "sudo", "-n", "true")
	for _, log := range []string{"ausearch --raw --key sudo --input-logs", "journalctl --no-pager --boot --output cat _TRANSPORT=audit"} {
		for _, who := range []string{"1000", "0"} {
			wanted := " auid=1000 uid=" + who + " "
			got := ""
			for deadline := time.Now().Add(time.Minute); got == "" && time.Now().Before(deadline); time.Sleep(time.Second) {
				got = inside(t, vpn, "sh", "-c", log+" | grep -F '"+wanted+"' | grep -F 'comm=\"sudo\"' || true")
			}
			if got == "" {
				t.Errorf("%q does not have that sudo was called: %q", log, wanted)
			}
		}
	}
}
