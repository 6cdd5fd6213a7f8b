// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What OpenVPN 2.6.14 writes, with what systemd adds, where it cannot start
// (TestDaemonFails has the real one say it).
const (
	portTaken  = "TCP/UDP: Socket bind failed on local address [AF_INET][undef]:1194: Address already in use (errno=98)\nExiting due to fatal error\nopenvpn-server@vpn.service: Main process exited, code=exited, status=1/FAILURE\nopenvpn-server@vpn.service: Failed with result 'exit-code'.\n"
	tunMissing = "ERROR: Cannot open TUN/TAP dev /dev/net/tun: No such file or directory (errno=2)\nExiting due to fatal error\n"
	unreadable = "vpnami-firstboot: reading as the daemon's user: open /var/lib/vpnami/current/revoked: permission denied -- the daemon would admit whom it cannot read to be revoked: look at the modes under /var/lib/vpnami/current\nopenvpn-server@vpn.service: Control process exited, code=exited, status=1/FAILURE\n"
)

// ofMachine are the faults of systemd, of OpenVPN and of the clock.
func ofMachine() []fault {
	var faults []fault
	unit := func(part, name string, spoil, mend func(*fakeUnits)) {
		faults = append(faults, fault{part: part, name: name, cannot: true,
			spoil: func(g *gateway) { spoil(g.systemd) }, mend: func(g *gateway) { mend(g.systemd) }})
	}
	// job: the job of a unit ends so; "" does not end.
	job := func(part, name, of, how, log string) {
		unit(part, name, func(f *fakeUnits) { f.fails[of], f.logs[of] = how, log }, func(f *fakeUnits) { delete(f.fails, of); delete(f.logs, of) })
	}
	dial := func(name string, how func(context.Context) error) {
		faults = append(faults, fault{part: "systemd", name: name, cannot: true,
			spoil: func(g *gateway) { g.dialing = how }, mend: func(g *gateway) { g.dialing = nil }})
	}
	faults = append(faults, fault{part: "systemd", name: "absent for 10 s", cannot: true, lasts: late,
		spoil: func(g *gateway) { g.dialing = until(late, syscall.ENOENT) }, mend: func(g *gateway) { g.dialing = nil }})
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	dial("connection refused", func(context.Context) error { return syscall.ECONNREFUSED })
	dial("hanging when dialled", hangs)
	dial("slow when dialled", func(ctx context.Context) error {
		select {
		case <-time.After(2 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	dial("permission denied", func(context.Context) error { return syscall.EACCES })
	unit("systemd", "no answer to a question", func(f *fakeUnits) { f.deaf = true }, func(f *fakeUnits) { f.deaf = false })
	// The packet filter has to be loaded for it to fail.
	unloaded := func(how string) func(*fakeUnits) {
		return func(f *fakeUnits) { f.states[filterUnit], f.fails[filterUnit] = "inactive", how }
	}
	well := func(f *fakeUnits) { delete(f.fails, filterUnit); delete(f.after, filterUnit) }
	unit("systemd", "the filter's job fails", unloaded("failed"), well)
	unit("systemd", "the filter's job hangs", unloaded(""), well)
	unit("systemd", "the filter's job is done and the unit is not active", func(f *fakeUnits) {
		f.states[filterUnit], f.after[filterUnit] = "inactive", "inactive"
	}, well)
	job("systemd", "the daemon's job hangs", openvpnUnit, "", "")
	job("systemd", "the daemon's job fails for a dependency", openvpnUnit, "dependency", "")
	job("systemd", "the daemon's job is skipped", openvpnUnit, "skipped", "")
	job("systemd", "the probe's job hangs", probeUnit, "", "")
	unit("systemd", "the daemon's stop hangs", func(f *fakeUnits) {
		f.stuck[openvpnUnit], f.fails[openvpnUnit] = true, "failed"
	}, func(f *fakeUnits) { delete(f.stuck, openvpnUnit); delete(f.fails, openvpnUnit) })

	job("openvpn", "port taken", openvpnUnit, "failed", portTaken)
	job("openvpn", "tun missing", openvpnUnit, "failed", tunMissing)
	job("openvpn", "revoked set not readable", openvpnUnit, "failed", unreadable)
	job("openvpn", "probe cannot read the revoked set", probeUnit, "failed", unreadable)
	unit("openvpn", "starts and never serves", func(f *fakeUnits) { f.mute[openvpnUnit] = true }, func(f *fakeUnits) { delete(f.mute, openvpnUnit) })
	unit("openvpn", "starts and ends", func(f *fakeUnits) { f.after[openvpnUnit] = "failed" }, func(f *fakeUnits) { delete(f.after, openvpnUnit) })
	unit("openvpn", "handshake without an answer", func(f *fakeUnits) { f.mute[probeUnit] = true }, func(f *fakeUnits) { delete(f.mute, probeUnit) })
	proof := func(name string, err error) {
		faults = append(faults, fault{part: "openvpn", name: name, cannot: true,
			spoil: func(g *gateway) { g.prove = err }, mend: func(g *gateway) { g.prove = nil }})
	}
	proof("lets nobody in", errors.New("AUTH: Received control message: AUTH_FAILED"))
	proof("refuses the probe's certificate", errors.New("TLS Error: TLS key negotiation failed to occur within 8 seconds"))

	forwarding := func(g *gateway, says string) { put(g.t, g.machine.layout.forwarding("all"), "", says) }
	faults = append(faults, fault{part: "kernel", name: "forwards nothing", cannot: true,
		spoil: func(g *gateway) { forwarding(g, "0\n") }, mend: func(g *gateway) { forwarding(g, "1\n") }})

	day := 24 * time.Hour
	clock := func(name string, by, jump time.Duration) {
		faults = append(faults, fault{part: "clock", name: name,
			spoil: func(g *gateway) { g.clock, g.jump = by, jump }, mend: func(g *gateway) { g.clock, g.jump = 0, 0 }})
	}
	clock("a day slow", -day, 0)
	clock("a week slow", -7*day, 0)
	clock("a day fast", day, 0)
	clock("in 1970", -30*365*day, 0)
	clock("twenty years fast", 20*365*day, 0)
	clock("set a day forward meanwhile", -day, day)
	clock("set a day back meanwhile", day, -day)
	return faults
}

// ofDisk are the faults that take a disk of their own. What stands goes on, and
// nothing new comes into force.
func ofDisk() []fault {
	const ballast = "ballast"
	fill := func(g *gateway, folder string) {
		g.t.Helper()
		fillDisk(g.t, filepath.Join(folder, ballast))
	}
	free := func(g *gateway, folder string) {
		g.t.Helper()
		if err := os.Remove(filepath.Join(folder, ballast)); err != nil {
			g.t.Fatal(err)
		}
	}
	remount := func(flags uintptr) func(*gateway, string) {
		return func(g *gateway, folder string) {
			g.t.Helper()
			if err := unix.Mount("", folder, "", unix.MS_REMOUNT|flags, disk); err != nil {
				g.t.Fatal(err)
			}
		}
	}
	var faults []fault
	for part, folder := range map[string]func(*gateway) string{
		"disk":          func(g *gateway) string { return g.machine.layout.state() },
		"disk of rules": func(g *gateway) string { return g.machine.layout.rules() },
	} {
		for name, c := range map[string]struct{ spoil, mend func(*gateway, string) }{
			"full":      {fill, free},
			"read-only": {remount(unix.MS_RDONLY), remount(0)},
		} {
			faults = append(faults, fault{part: part, name: name, disk: folder,
				spoil: func(g *gateway) { c.spoil(g, folder(g)) }, mend: func(g *gateway) { c.mend(g, folder(g)) }})
		}
	}
	return faults
}

// fillDisk writes a file until there is no room for more.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// disk is a tmpfs of 1 MiB: some four generations of the article's launch.
const disk = "size=1m,mode=755"

// mount gives a folder a disk of its own, with what is in it.
func (g *gateway) mount(folder string) {
	g.t.Helper()
	files := map[string][]byte{}
	for _, path := range names(folder) {
		if data, err := os.ReadFile(path); err == nil {
			files[strings.TrimPrefix(path, folder)] = data
		}
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, disk); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := unix.Unmount(folder, 0); err != nil {
			g.t.Error(err)
		}
	})
	for name, data := range files {
		if err := os.WriteFile(folder+name, data, 0o640); err != nil {
			g.t.Fatal(err)
		}
	}
}
