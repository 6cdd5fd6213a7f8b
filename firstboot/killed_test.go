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
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

const killedRoot, killedCloud, killedVerb = "VPNAMI_TEST_ROOT", "VPNAMI_TEST_CLOUD", "VPNAMI_TEST_VERB"

// mainToKill is the program on a machine of a test, in a process of its own.
// strace counts the calls of each thread by itself.
func mainToKill() {
	runtime.LockOSThread()
	root := os.Getenv(killedRoot)
	g := &gateway{cloud: &cloud{url: os.Getenv(killedCloud), dial: new(net.Dialer).DialContext}, systemd: newUnits()}
	g.machine.layout = layout{root: root}
	g.machine.placement = placement{current: g.machine.layout.current(), hook: filepath.Join(root, "admit"), offload: g.machine.layout.offload()}
	ctx := context.Background()
	if os.Getenv(killedVerb) == "sync" {
		os.Exit(g.program().sync(ctx, io.Discard, os.Stderr))
	}
	r := g.program().run(ctx)
	if r.State != Ready {
		fmt.Fprintln(os.Stderr, r.Line())
	}
	os.Exit(r.State.exitCode())
}

// TestKilledAtEveryWrite kills a run and a sync at the first, second, ... call
// of each kind with which something is written, until it gets through. After
// every kill what is in force is whole, the old or the new; the next run ends
// ready with the new, and nothing is left behind.
func TestKilledAtEveryWrite(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("VPNAMI_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for name, c := range map[string]struct {
		verb    string
		prepare func(*gateway)
	}{
		"first boot": {"run", func(*gateway) {}},
		"revocation": {"sync", func(g *gateway) {
			g.want(g.boot(), Ready, "")
			g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
			g.publishAgain(2)
		}},
		"rotation": {"sync", func(g *gateway) {
			g.want(g.boot(), Ready, "")
			server := g.people.Server()
			server.TLSCryptV2 = g.people.server.TLSCryptV2
			g.people.server = server
			g.publishAgain(2)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for _, call := range []string{"write", "fsync", "fchmod", "fchmodat", "fchown", "fchownat", "mkdirat", "symlinkat", "renameat", "unlinkat", "openat"} {
				for n := 1; ; n++ {
					g := newGateway(t, vpnDocument)
					c.prepare(g)
					old, _ := g.machine.store.read(g.machine.layout.current())
					if !killedAt(t, g, c.verb, call, n) {
						break
					}
					kills++
					t.Run(fmt.Sprintf("%s %d", call, n), func(t *testing.T) {
						g.t = t
						g.isWhole(old)
						g.want(g.boot(), Ready, "")
						now, ok := g.machine.store.read(g.machine.layout.current())
						if !ok || now.Files == old.Files {
							t.Errorf("in force is %+v", now)
						}
						g.isWhole(generation{})
						entries, err := os.ReadDir(g.machine.layout.generations())
						if err != nil || len(entries) != 1 {
							t.Errorf("left: %v, %v", entries, err)
						}
						g.sync(exitReady, "nothing new")
					})
					if t.Failed() {
						return
					}
				}
			}
			t.Logf("killed at %d calls", kills)
			if kills < 30 {
				t.Errorf("%d kills: the calls are not seen", kills)
			}
		})
	}
}

// killedAt runs the program, which is killed at the n-th call of a kind that one
// of its threads makes; false means that it made no so many.
func killedAt(t *testing.T, g *gateway, verb, call string, n int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-o", "/dev/null",
		"-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n), "vpnami-firstboot-to-kill")
	cmd.Env = append(os.Environ(), killedRoot+"="+g.machine.layout.root, killedCloud+"="+g.cloud.listen(t), killedVerb+"="+verb)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && (status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL)) {
			return true
		}
	}
	t.Fatalf("killing at %s %d: %v\n%s", call, n, err, out)
	return false
}

// isWhole: what is in force, if anything, has every file as its record says; it
// is the generation that was before, or what is published.
func (g *gateway) isWhole(old generation) {
	g.t.Helper()
	link := g.machine.layout.current()
	if _, err := os.Lstat(link); err != nil {
		return // nothing yet
	}
	now, ok := g.machine.store.read(link)
	if !ok {
		g.t.Fatal("what is in force has no record")
	}
	if now.Name == old.Name {
		if now.Files != old.Files {
			g.t.Errorf("the generation before is not as it was: %s", cmp.Diff(old.record, now.record))
		}
		return
	}
	instance := launched(vpnDocument)
	files, err := render(articleConfig(g.t), g.published(), g.machine.placement, instance)
	if err != nil {
		g.t.Fatal(err)
	}
	if !g.machine.store.whole(now, files) {
		g.t.Errorf("generation %s is not whole: %s", now.Name, strings.Join(names(g.machine.store.folder(now)), " "))
	}
}

func names(folder string) []string {
	var found []string
	_ = filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		found = append(found, path)
		return err
	})
	return found
}

// published is what the secrets hold.
func (g *gateway) published() bundle.Bundle {
	g.t.Helper()
	names := SecretNames{Server: "vpn/office/server", Access: "vpn/office/access"}
	b, _, err := unseal(g.t.Context(), g.program().services("ap-northeast-1").secrets, names, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}
