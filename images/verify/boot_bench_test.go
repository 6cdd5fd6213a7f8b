// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && boot && bench

package verify

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// TestBenchBoot measures from the start of the kernel to OpenVPN up, on emulated
// machines: ours as it is, which first asks whether it is to be a gateway, of whom, and
// whether it lets anybody in; and the stock image, which has the same packages, and
// is given the same configuration and the daemon enabled. VPNAMI_STOCK names the
// folder of the stock image.
func TestBenchBoot(t *testing.T) {
	vpn := launch(t, lab.LaunchSpec{
		Name: "vpn", PrivateAddress: gatewayPrivate, PublicAddress: gatewayPublic,
		Groups: []string{theOffice.VPC().GroupVPN}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n",
	})
	ready(t, vpn)
	t.Logf("ours, the first boot           %6.1f s", up(t, vpn).Seconds())
	laidDown, err := vpn.Exec(within(t, bootTime()), "tar", "--create", "--directory", "/", "var/lib/vpnami", "usr/lib/vpnami", "etc/openvpn/server")
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs []time.Duration
	for range 3 {
		ours = append(ours, rebooted(t, vpn))
	}
	terminate(t, vpn) // beside another, it would be measured as well
	stock := stockMachine(t)
	if _, err := stock.ExecInput(within(t, bootTime()), []byte(laidDown), "tar", "--extract", "--directory", "/"); err != nil {
		t.Fatal(err)
	}
	inside(t, stock, "systemctl", "--quiet", "enable", "openvpn-server@vpn.service")
	for range 3 {
		theirs = append(theirs, rebooted(t, stock))
	}
	t.Logf("stock, openvpn enabled         %6.1f s   of %v", median(theirs).Seconds(), theirs)
	t.Logf("ours, a later boot             %6.1f s   of %v: %.2f times the stock image", median(ours).Seconds(), ours, float64(median(ours))/float64(median(theirs)))
}

// stockMachine launches the stock image in a lab of its own.
func stockMachine(t *testing.T) *lab.Instance {
	t.Helper()
	image := os.Getenv("VPNAMI_STOCK")
	if image == "" {
		t.Fatal("VPNAMI_STOCK is not set: it names the folder of the stock image (make bench-boot sets it)")
	}
	program, err := exec.LookPath("vpnami-lab")
	if err != nil {
		t.Fatal(err)
	}
	if program, err = filepath.Abs(program); err != nil {
		t.Fatal(err)
	}
	const name = "stock"
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx := within(t, 2*time.Minute)
	if err := lab.Down(ctx, name, log); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(ctx, lab.Options{Name: name, Image: image, Engine: lab.Qemu, Program: program, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	i, err := l.Launch(ctx, lab.LaunchSpec{
		Name: "vpn", PrivateAddress: gatewayPrivate, PublicAddress: gatewayPublic, Groups: []string{l.VPC().GroupVPN}, UserData: "#cloud-config\n{}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(bootTime()); ; time.Sleep(time.Second) {
		_, err := i.Exec(within(t, 30*time.Second), "cloud-init", "status", "--wait")
		if err == nil {
			return i
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func rebooted(t *testing.T, i *lab.Instance) time.Duration {
	t.Helper()
	if err := i.Reboot(within(t, bootTime())); err != nil {
		t.Fatal(err)
	}
	return up(t, i)
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
