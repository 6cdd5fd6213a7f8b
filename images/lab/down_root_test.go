// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// leakLab is the name by which the footprint of a lab is told from others'.
const leakLab = "tleak"

// footprint is what a lab could leave behind on the host.
type footprint struct {
	Namespaces, Mounts, Folders, Cgroups, Links, Rules, Processes []string
}

func hostFootprint(t *testing.T) footprint {
	const lab = leakLab
	t.Helper()
	out := func(name string, args ...string) []string {
		text, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("running %s %q: %v\n%s", name, args, err, text)
		}
		return strings.Split(string(text), "\n")
	}
	mounts, err := mountPoints()
	if err != nil {
		t.Fatal(err)
	}
	// Others may use the machine: what is not of this lab may come and go.
	mine := func(list []string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return !strings.Contains(s, lab) })
	}
	entriesOf := func(dirs ...string) []string {
		var names []string
		for _, dir := range dirs {
			entries, _ := os.ReadDir(dir) // one that is not there holds nothing
			for _, e := range entries {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
		return mine(names)
	}
	var cgroups []string
	roots, err := cgroupRoots()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range roots {
		found, err := filepath.Glob(filepath.Join(root, "*"+lab+"*"))
		if err != nil {
			t.Fatal(err)
		}
		cgroups = append(cgroups, found...)
	}
	return footprint{
		Namespaces: entriesOf(netnsRoot), Mounts: mine(mounts), Cgroups: cgroups,
		Folders: entriesOf(runRoot, diskRoot, "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"),
		Links:   out("ip", "-o", "link"), Rules: out("nft", "list", "ruleset"), Processes: mine(out("ps", "-eo", "args")),
	}
}

func TestNothingIsLeft(t *testing.T) {
	needRoot(t)
	const name = leakLab
	o := options(t, name)
	if err := Down(within(t, time.Minute), name, o.Log); err != nil {
		t.Fatal(err)
	}
	before := hostFootprint(t)
	check := func(t *testing.T) {
		t.Helper()
		for range 2 { // down a second time finds nothing to do
			if err := Down(within(t, time.Minute), name, o.Log); err != nil {
				t.Fatal(err)
			}
		}
		if names, err := Names(); err != nil || slices.Contains(names, name) {
			t.Errorf("the labs of this machine are %q, %v; want %q no longer", names, err, name)
		}
		if diff := cmp.Diff(before, hostFootprint(t)); diff != "" {
			t.Errorf("left behind (-before +after):\n%s", diff)
		}
	}

	t.Run("a lab can be seen", func(t *testing.T) {
		l := up(t, o)
		during := hostFootprint(t)
		if len(during.Namespaces) == 0 || len(during.Folders) == 0 || len(during.Processes) == 0 {
			t.Errorf("the check sees nothing of a running lab: %+v", during)
		}
		if names, err := Names(); err != nil || !slices.Contains(names, name) {
			t.Errorf("the labs of this machine are %q, %v; want %q among them", names, err, name)
		}
		if diff := cmp.Diff(before.Links, during.Links); diff != "" {
			t.Errorf("the lab has devices in the host's own namespace:\n%s", diff)
		}
		if diff := cmp.Diff(before.Rules, during.Rules); diff != "" {
			t.Errorf("the lab has rules in the host's own namespace:\n%s", diff)
		}
		if err := l.Down(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		check(t)
	})
	t.Run("its agent was killed, and machines run", func(t *testing.T) {
		f := openOffice(t, name)
		if during := hostFootprint(t); !f.vpn.machine.Running || len(during.Cgroups) == 0 || len(during.Mounts) <= len(during.Namespaces) {
			t.Errorf("the check sees nothing of a running machine: %+v", during)
		}
		apart(t, f.vpn, f.step)
		killAgent(t, name)
		check(t)
	})
	// While it is being made: whatever is being made at that moment.
	for _, ms := range []int{3, 15, 40, 200, 900, 2000} {
		after := time.Duration(ms) * time.Millisecond
		t.Run("its agent was killed "+after.String()+" after its start", func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				_, err := Up(within(t, time.Minute), o)
				done <- err
			}()
			time.Sleep(after)
			killAgent(t, name)
			if err := <-done; err == nil && after < time.Second {
				t.Error("the lab came up although its agent was killed")
			}
			check(t)
		})
	}
}

// apart fails when two machines share a cgroup: the systemd of each would take
// the other's processes for its own.
func apart(t *testing.T, a, b *Instance) {
	t.Helper()
	cgroupOf := func(i *Instance) string {
		leader, err := waitLeader(t.Context(), i.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(leader), "cgroup"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if path, ok := strings.CutPrefix(line, "0::"); ok {
				return strings.TrimSpace(path)
			}
		}
		t.Fatalf("no unified cgroup in %q", text)
		return ""
	}
	if one, other := cgroupOf(a), cgroupOf(b); one == other || !strings.HasPrefix(one, "/vpnami-") {
		t.Errorf("%s is in cgroup %q and %s in %q, want one for each", a.Name(), one, b.Name(), other)
	}
}

// killAgent kills the agent alone: what it started runs on.
func killAgent(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		pids, err := processes()
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			args, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
			if err == nil && strings.Contains(string(args), "\x00agent\x00--name\x00"+name+"\x00") {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatal("there is no agent to kill")
}

// ownTun fails when the container has this machine's own TUN node: what is done
// to its mode inside would be done to this machine's.
func ownTun(t *testing.T, i *Instance) {
	t.Helper()
	leader, err := waitLeader(t.Context(), i.Namespace())
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join("/proc", strconv.Itoa(leader), "root", tunNode)
	if err := checkTun(inside); err != nil {
		t.Error(err)
	}
	here, err := os.Stat(tunNode)
	if err != nil {
		t.Fatal(err)
	}
	there, err := os.Stat(inside)
	if err != nil {
		t.Fatal(err)
	}
	if os.SameFile(here, there) {
		t.Errorf("%s has this machine's own %s", i.Name(), tunNode)
	}
}

func waitConsole(ctx context.Context, t *testing.T, i *Instance, text string) {
	t.Helper()
	for {
		console, err := i.BootConsole(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(console, text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestMachine(t *testing.T) {
	needRoot(t)
	o := openOffice(t, "tmachine")
	ctx := within(t, time.Minute)
	first := o.vpn.Started()
	marker, err := os.Create(filepath.Join(diskDir(o.Name()), "vpn/root/root/kept"))
	if err != nil {
		t.Fatal(err)
	}
	marker.Close()
	ns, err := netnsIdentity(instanceNS(o.vpn))
	if err != nil {
		t.Fatal(err)
	}
	waitConsole(ctx, t, o.vpn, "init: up")
	ownTun(t, o.vpn)
	if err := o.vpn.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	o.address(o.vpn)
	if !o.vpn.Started().After(first) {
		t.Errorf("after the reboot it started at %s, before at %s", o.vpn.Started(), first)
	}
	if _, err := os.Stat(marker.Name()); err != nil {
		t.Errorf("the disk did not outlive the reboot: %v", err)
	}
	if fresh, err := netnsIdentity(instanceNS(o.vpn)); err != nil || fresh == ns {
		t.Errorf("the network is %s after the reboot, as before (%v): what was configured in it outlives the reboot", fresh, err)
	}
	o.listen(instanceNS(o.vpn), ":22")
	o.want(openNamespace(o.client.Namespace()), publicAddress+":22", PortOpen)

	for _, stop := range []func() error{func() error { return o.vpn.PowerOff(ctx) }, func() error { return o.vpn.Kill(ctx) }} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if o.vpn.machine.Running {
			t.Fatal("the machine runs on")
		}
		if err := o.vpn.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if !o.vpn.machine.Running {
			t.Fatal("the machine does not start again")
		}
		waitConsole(ctx, t, o.vpn, "init: up")
	}
	console, err := o.vpn.Console()
	if err != nil || strings.Count(console, "init: up") != 4 {
		t.Errorf("the console is %q, %v; want every boot's \"init: up\"", console, err)
	}
	if err := o.vpn.Terminate(ctx); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := os.Stat(filepath.Join(diskDir(o.Name()), "vpn"))
		if os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the terminated machine's disk is still there: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	calls, err := o.Calls()
	if err != nil || !slices.ContainsFunc(calls, func(c Call) bool { return c.Action == "ec2:TerminateInstances" && c.Status == 200 }) {
		t.Errorf("the API's calls do not tell of ec2:TerminateInstances: %v", err)
	}
}
