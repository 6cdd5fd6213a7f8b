// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// kernelSettings compares what the kernel has with what is laid down. A container
// has its host's kernel, and of its own the network alone.
func kernelSettings(t *testing.T, i *lab.Instance) {
	t.Helper()
	text, err := os.ReadFile("../rootfs/etc/sysctl.d/90-vpnami.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	optional := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		key, value, is := strings.Cut(strings.TrimSpace(line), " = ")
		if !is || strings.HasPrefix(key, "#") {
			continue
		}
		key, may := strings.CutPrefix(key, "-")
		if theOffice.Engine() == lab.Nspawn && !strings.HasPrefix(key, "net.ipv4.") && !strings.HasPrefix(key, "net.ipv6.") {
			continue
		}
		want[key], optional[key] = value, may
	}
	// One call: under emulation each takes a second.
	got := map[string]string{}
	for line := range strings.Lines(inside(t, i, append([]string{"sysctl", "--ignore"}, slices.Sorted(maps.Keys(want))...)...)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " =")
		got[key] = strings.Join(strings.Fields(value), " ")
	}
	for key, value := range want {
		if is, there := got[key]; is != value && (there || !optional[key]) {
			t.Errorf("%s is %q, want %q", key, is, value)
		}
	}
	t.Logf("%d settings, of which the kernel has %d", len(want), len(got))
	if len(got) < 30 {
		t.Errorf("only %d settings were compared", len(got))
	}
}

// mountedAsLaidDown compares what is mounted with the units for it.
func mountedAsLaidDown(t *testing.T, i *lab.Instance) {
	t.Helper()
	units, err := filepath.Glob("../rootfs/usr/lib/systemd/system/*.mount")
	if err != nil || len(units) < 7 {
		t.Fatalf("only %d units: %v", len(units), err)
	}
	// The last one that is mounted at a place is the one that is seen.
	has := map[string][]string{}
	for line := range strings.Lines(inside(t, i, "findmnt", "--list", "--noheadings", "--output", "TARGET,OPTIONS")) {
		if words := strings.Fields(line); len(words) == 2 {
			has[words[0]] = strings.Split(words[1], ",")
		}
	}
	for _, path := range units {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		set := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			set[key] = value
		}
		where := set["Where"]
		if where == "/tmp" && theOffice.Engine() == lab.Nspawn {
			continue // systemd-nspawn's own
		}
		for _, option := range []string{"nosuid", "nodev", "noexec"} {
			if strings.Contains(set["Options"], option) && !slices.Contains(has[where], option) {
				t.Errorf("%s is mounted with %q, without %s", where, has[where], option)
			}
		}
	}
	if mode := inside(t, i, "stat", "--format", "%a %U", "/boot"); mode != "700 root" {
		t.Errorf("/boot is %q", mode)
	}
}

// replaceTLS puts a copy in the place of the library, as an update does.
const replaceTLS = `library=$(ldconfig -p | awk '/libssl\.so\.3/ { print $NF; exit }') && cp -p "$library" "$library.new" && mv "$library.new" "$library"`

// refreshes brings the gateway another library: it goes on until it is told, by
// the timer of the night, to start anew, and its clients come back by themselves.
func refreshes(t *testing.T, vpn *lab.Instance, client *lab.Host) {
	t.Helper()
	const note = "/run/vpnami/stale"
	daemon := func() string {
		return inside(t, vpn, "systemctl", "show", "--property=MainPID", "--value", "openvpn-server@vpn.service")
	}
	noted := func() bool {
		_, err := vpn.Exec(within(t, 30*time.Second), "test", "-e", note)
		return err == nil
	}
	session, before := connect(t, client, theOffice.profile("client1")), daemon()

	inside(t, vpn, "dpkg", "--configure", "--pending")
	if noted() {
		t.Error("nothing was replaced, and it is noted as stale")
	}
	inside(t, vpn, "systemctl", "start", "vpnami-refresh.service")
	if after := daemon(); after != before {
		t.Errorf("nothing was replaced, and the daemon was started again: %s, %s", before, after)
	}

	inside(t, vpn, "sh", "-c", replaceTLS)
	inside(t, vpn, "dpkg", "--configure", "--pending")
	if !noted() {
		t.Fatalf("a library that the daemon runs was replaced, and it is not noted:\n%s", inside(t, vpn, "sh", "-c", "grep deleted /proc/"+before+"/maps || true"))
	}
	if after := daemon(); after != before {
		t.Errorf("an update by itself started the daemon again: %s, %s", before, after)
	}
	inside(t, vpn, "systemctl", "start", "vpnami-refresh.service")
	if after := daemon(); after == before || noted() {
		t.Errorf("the daemon was not started again: %s, %s, noted: %v", before, after, noted())
	}
	// The client was told, and starts over after the pause of its own.
	const completed = "Initialization Sequence Completed"
	for range 150 {
		if strings.Count(session.Log(), completed) > 1 {
			logsInToStep(t, client)
			if next := inside(t, vpn, "systemctl", "show", "--property=NextElapseUSecRealtime", "vpnami-refresh.timer"); !strings.Contains(next, " 03:") {
				t.Errorf("the timer is not for 3 o'clock: %s", next)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the client has not come back within 15 s:\n%s", session.Log())
}
