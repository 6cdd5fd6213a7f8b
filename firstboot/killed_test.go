// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the program that is killed is told by its environment.
const (
	killedRoot, killedCloud, killedVerb = "VPNAMI_TEST_ROOT", "VPNAMI_TEST_CLOUD", "VPNAMI_TEST_VERB"
	// killedGood is the digest of the only files with which a proof goes well.
	killedGood = "VPNAMI_TEST_GOOD"
)

// The main goroutine stays on the process's first thread, which is the one that
// strace looks at: it makes every write, and its calls are the same each time.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // later than an init, it may be on another thread

// mainToKill is the program on a machine of a test, in a process of its own.
func mainToKill() {
	where := layout{root: os.Getenv(killedRoot)}
	g := &gateway{cloud: &cloud{url: os.Getenv(killedCloud), dial: new(net.Dialer).DialContext}, systemd: newUnits(where)}
	g.machine.layout = where
	g.machine.store = store{layout: g.machine.layout}
	g.machine.placement = placement{current: g.machine.layout.current(), hook: filepath.Join(g.machine.layout.root, "admit"), offload: g.machine.layout.offload()}
	if good := os.Getenv(killedGood); good != "" {
		g.proving = g.provenOnly(good)
	}
	b, ctx := g.program(), context.Background()
	b.console = console{to: openConsole(g.machine.layout.console())}
	if os.Getenv(killedVerb) == "sync" {
		os.Exit(b.sync(ctx, io.Discard, os.Stderr))
	}
	r := b.run(ctx)
	if r.State != Ready {
		fmt.Fprintln(os.Stderr, r.Line())
	}
	os.Exit(r.State.exitCode())
}

// provenOnly lets a proof go well with some files alone.
func (g *gateway) provenOnly(files string) func() error {
	return func() error {
		if now, _ := g.machine.store.read(g.machine.layout.current()); now.Files != files {
			return errors.New("connecting: AUTH_FAILED")
		}
		return nil
	}
}

// killing is a run of the program that is killed wherever it writes.
type killing struct {
	verb    string
	code    int // with which it ends when nobody kills it
	prepare func(*gateway)
	// after is what must hold of what is published at the end.
	after func(g *gateway, old generation)
	// steps: it writes nothing as another does not, so that to kill it between
	// its steps is enough.
	steps bool
}

// comesIn: the new is in force, and nothing else is left.
func comesIn(g *gateway, old generation) {
	g.want(g.boot(), Ready, "")
	now, ok := g.machine.store.read(g.machine.layout.current())
	if !ok || now.Files == old.Files && now.Instance == old.Instance {
		g.t.Errorf("in force is %+v", now)
	}
	g.isWhole(generation{})
	g.isClean()
	g.sync(exitReady, "nothing new")
}

// goesBack: what does not work gave way to what was; once it works it comes in.
func goesBack(g *gateway, old generation) {
	g.want(g.boot(), Degraded, "AUTH_FAILED")
	if now, _ := g.machine.store.read(g.machine.layout.current()); now.Files != old.Files {
		g.t.Errorf("in force is %+v, not what was", now)
	}
	g.isWhole(old)
	g.isClean()
	if _, err := os.Stat(filepath.Join(g.machine.layout.current(), revokedFolder, "666")); err != nil {
		g.t.Errorf("who is revoked is let in again: %v", err)
	}
	g.proving = nil
	g.reboot()
	comesIn(g, old)
}

func killings() map[string]killing {
	rotate := func(g *gateway) {
		g.want(g.boot(), Ready, "")
		server := g.people.Server()
		server.TLSCryptV2 = g.people.server.TLSCryptV2
		g.people.server = server
		g.publishAgain(2)
	}
	return map[string]killing{
		// With what a crash before it has left.
		"first boot": {"run", exitReady, func(g *gateway) { g.litter() }, comesIn, false},
		"revocation": {"sync", exitReady, func(g *gateway) {
			g.want(g.boot(), Ready, "")
			g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
			g.publishAgain(2)
		}, comesIn, false},
		"rotation": {"sync", exitReady, rotate, comesIn, true},
		"going back": {"sync", exitDegraded, func(g *gateway) {
			rotate(g)
			g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
			g.publishAgain(3)
			old, _ := g.machine.store.read(g.machine.layout.current())
			g.proving = g.provenOnly(old.Files)
		}, goesBack, false},
		"another instance": {"run", exitReady, func(g *gateway) {
			g.want(g.boot(), Ready, "")
			g.becomeOther()
			g.cloud.rules = append(g.cloud.rules, openSSH("sgr-other"))
		}, comesIn, false},
		"becoming a bastion": {"run", exitReady, func(g *gateway) {
			g.want(g.boot(), Ready, "")
			g.cloud.launch("#vpnami\nrole: step\n")
		}, func(g *gateway, _ generation) {
			g.want(g.boot(), Ready, "")
			g.isClean()
			if g.systemd.states[openvpnUnit] == "active" {
				g.t.Error("openvpn runs")
			}
		}, true},
	}
}

// TestKilledAtEveryWrite kills each of the runs at every call with which it
// writes something. After every kill what is in force is whole, the old or the
// new; the next run, in the same boot or in another, ends as it would have, and
// nothing is left behind. Nor does a power cut leave half a file: what is given
// a name that counts has been synced before, and the name after.
func TestKilledAtEveryWrite(t *testing.T) {
	if os.Getenv("VPNAMI_REQUIRE") == "" {
		t.Skip("a minute or two, and strace: \"make faults\" and \"make test-root\" run it")
	}
	for name, k := range killings() {
		if k.steps {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, vpnDocument)
			k.prepare(g)
			trace := filepath.Join(t.TempDir(), "trace")
			if code := g.strace(k, "-y", "-s", "0", "-o", trace, "-e", "trace="+strings.Join(writing, ",")); code != k.code {
				t.Fatalf("it ends with %d", code)
			}
			calls := g.readTrace(trace)
			durable(t, calls)
			if len(calls) < 20 {
				t.Errorf("%d calls: they are not seen", len(calls))
			}
			missed := 0
			for i, c := range calls {
				if t.Failed() {
					return
				}
				g := newGateway(t, vpnDocument)
				k.prepare(g)
				old, _ := g.machine.store.read(g.machine.layout.current())
				if code := g.strace(k, "-o", "/dev/null", "-e", "trace="+c.name, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", c.name, c.n)); code == k.code && c.name == "write" {
					// Go's network poller writes too, on whichever thread.
					missed++
					continue
				} else if code != killed {
					t.Fatalf("at %s %d it is not killed: %d", c.name, c.n, code)
				}
				t.Run(fmt.Sprintf("%s %d", c.name, c.n), func(t *testing.T) {
					g.t = t
					g.isWhole(old)
					if i%2 == 1 {
						g.reboot()
					} else {
						g.comesAgain(k)
					}
					k.after(g, old)
				})
			}
			t.Logf("killed at %d of %d calls", len(calls)-missed, len(calls))
			if missed > len(calls)/20 {
				t.Errorf("not killed at %d calls", missed)
			}
		})
	}
}

// TestKilledBetweenSteps ends the program after each step, as a crash does, or
// with the machine: it comes to the same end.
func TestKilledBetweenSteps(t *testing.T) {
	for name, k := range killings() {
		for _, reboot := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, rebooted %v", name, reboot), func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					g := newGateway(t, vpnDocument)
					k.prepare(g)
					old, _ := g.machine.store.read(g.machine.layout.current())
					step := g.endAfter(k.verb, n)
					if step == "" {
						if n < 4 {
							t.Errorf("it has %d steps", n-1)
						}
						return
					}
					g.isWhole(old)
					if reboot {
						g.reboot()
					} else {
						g.comesAgain(k)
					}
					k.after(g, old)
					if t.Failed() {
						t.Fatalf("after the step %q", step)
					}
				}
			})
		}
	}
}

// comesAgain: after a sync, nobody but the next runs by itself.
func (g *gateway) comesAgain(k killing) {
	g.t.Helper()
	if k.verb != "sync" {
		return
	}
	_, said := g.syncs()
	if g.torn() {
		g.t.Errorf("the sync after it leaves what was begun: exit %d, %s", said.code, said.out)
	}
}

// endAfter runs the program until its n-th step is over, and tells which it was;
// nothing, if it has no so many.
func (g *gateway) endAfter(verb string, n int) (step string) {
	done := make(chan struct{})
	line := regexp.MustCompile(`^vpnami: ([a-z]+) (\(|failed)`)
	b := g.program()
	b.console = console{to: writerFunc(func(text []byte) (int, error) {
		if found := line.FindSubmatch(text); found != nil {
			if n--; n == 0 {
				step = string(found[1])
				runtime.Goexit()
			}
		}
		return len(text), nil
	})}
	go func() {
		defer close(done)
		if verb == "sync" {
			b.sync(g.t.Context(), io.Discard, io.Discard)
			return
		}
		b.run(g.t.Context())
	}()
	<-done
	return step
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(data []byte) (int, error) { return w(data) }

// reboot boots the machine anew: its filter loads the rules that are on the disk.
func (g *gateway) reboot() {
	g.t.Helper()
	g.machine.reboot(g.t)
	g.systemd.states = newUnits(g.machine.layout).states
}

// killed is the exit code of what SIGKILL ended.
const killed = 128 + int(syscall.SIGKILL)

// strace runs the program in a process of its own, and returns its exit code.
func (g *gateway) strace(k killing, args ...string) int {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	put(g.t, g.machine.layout.root, "dev/console", "")
	cmd := exec.CommandContext(ctx, "strace", append(append([]string{"-qq"}, args...), "vpnami-firstboot-to-kill")...)
	cmd.Env = append(os.Environ(), killedRoot+"="+g.machine.layout.root, killedCloud+"="+g.cloud.listen(g.t), killedVerb+"="+k.verb)
	if k.code == exitDegraded {
		old, _ := g.machine.store.read(g.machine.layout.proven())
		cmd.Env = append(cmd.Env, killedGood+"="+old.Files)
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return exitReady
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		g.t.Fatalf("%v\n%s", err, out)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
