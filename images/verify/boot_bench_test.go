// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && boot && bench

package verify

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

const (
	// bare has systemd start the daemon with what was laid down, as a person would
	// who enables the distribution's unit; ours lets vpnami-firstboot do it.
	bare = "rm /etc/systemd/system/multi-user.target.wants/vpnami-firstboot.service && systemctl --quiet add-wants multi-user.target openvpn-server@vpn.service"
	ours = "rm -f /etc/systemd/system/multi-user.target.wants/openvpn-server@vpn.service && ln -s /usr/lib/systemd/system/vpnami-firstboot.service /etc/systemd/system/multi-user.target.wants/"
)

// TestBenchBoot measures from the start of the kernel to OpenVPN up, by turns on
// one machine: as the image boots, and with the daemon enabled as distributions
// do, without vpnami-firstboot.
func TestBenchBoot(t *testing.T) {
	vpn := launch(t, lab.LaunchSpec{
		Name: "boot", PrivateAddress: netip.MustParseAddr("10.0.1.41"), PublicAddress: netip.MustParseAddr("203.0.113.41"),
		Groups: []string{newGatewayGroup(t, "boot")}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n",
	})
	ready(t, vpn)
	t.Logf("the first boot                 %6.1f s", up(t, vpn).Seconds())
	took := map[string][]time.Duration{}
	for range 3 {
		for _, how := range []string{bare, ours} {
			inside(t, vpn, "sh", "-ec", how)
			if err := vpn.Reboot(within(t, bootTime())); err != nil {
				t.Fatal(err)
			}
			took[how] = append(took[how], up(t, vpn))
		}
	}
	t.Logf("a later boot                   %6.1f s   openvpn enabled by itself %6.1f s   %5.2f times as long",
		median(took[ours]).Seconds(), median(took[bare]).Seconds(), float64(median(took[ours]))/float64(median(took[bare])))
}

// up waits until the daemon serves, and tells how long after the kernel's start
// that was.
func up(t *testing.T, i *lab.Instance) time.Duration {
	t.Helper()
	for deadline := time.Now().Add(bootTime()); time.Now().Before(deadline); time.Sleep(time.Second) {
		out, err := i.Exec(within(t, 30*time.Second), "systemctl", "is-active", "openvpn-server@vpn.service")
		if err == nil && strings.TrimSpace(out) == "active" {
			us := number(t, i, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "openvpn-server@vpn.service")
			return time.Duration(us) * time.Microsecond
		}
	}
	t.Fatalf("openvpn was not up within %s", bootTime())
	return 0
}
