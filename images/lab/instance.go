// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Instance is an EC2 instance with its machine.
type Instance struct {
	lab     *Lab
	machine MachineState
	leader  int // the container's PID 1 when last looked for
}

// Result is what firstboot reports in /var/lib/vpnami/result.json.
type Result struct {
	Schema   int          `json:"schema"`
	State    string       `json:"state"` // ready, waiting, refused, degraded
	Role     string       `json:"role"`
	Instance string       `json:"instance"`
	BootID   string       `json:"boot_id"`
	Version  string       `json:"version"`
	Started  time.Time    `json:"started"`
	Finished time.Time    `json:"finished"`
	Cause    string       `json:"cause"`
	Advice   string       `json:"advice"`
	Steps    []ResultStep `json:"steps"`
	SSH      ResultSSH    `json:"ssh"`
	Raw      []byte       `json:"-"` // the file itself, for what later versions add
}

// ResultStep is one step of the first boot.
type ResultStep struct {
	Name   string `json:"name"`
	TookMS int64  `json:"took_ms"`
}

// ResultSSH says what became of the SSH ingress.
type ResultSSH struct {
	Revoked []string `json:"revoked"`
}

// ErrNoResult means that this boot of the instance has not reported yet.
var ErrNoResult = errors.New("no result of this boot yet")

const resultPath = "/var/lib/vpnami/result.json"

// Name is the instance's Name tag (made unique if two have the same).
func (i *Instance) Name() string { return i.machine.Name }

// ID is EC2's instance id.
func (i *Instance) ID() string { return i.machine.ID }

// PrivateAddress is its address in the VPC.
func (i *Instance) PrivateAddress() netip.Addr { return i.machine.PrivateAddress }

// Started is when its machine was last started.
func (i *Instance) Started() time.Time { return i.machine.Started }

// Namespace is the name of its network namespace, for `ip netns exec`.
func (i *Instance) Namespace() string {
	return namespaceName(i.lab.options.Name, i.machine.Name)
}

// Exec runs a program as root inside the instance and returns its standard
// output; the error carries its standard error and, by errors.As, the
// *exec.ExitError. Under nspawn it enters the container; under qemu it goes
// by SSH from the VPC's router address, so sshd must be up there.
func (i *Instance) Exec(ctx context.Context, args ...string) (string, error) {
	return i.ExecInput(ctx, nil, args...)
}

// ExecInput is [Instance.Exec] with something on standard input.
func (i *Instance) ExecInput(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd, err := i.Command(ctx, args...)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running %q in %q: %w: %s", args, i.machine.Name, err, lastLines(stderr.Bytes(), 5))
	}
	return stdout.String(), nil
}

// Command is [Instance.Exec] for those who want the pipes themselves.
func (i *Instance) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	if err := i.refresh(ctx); err != nil {
		return nil, err
	}
	if !i.machine.Running {
		return nil, fmt.Errorf("entering %q: its machine is not running; start it first", i.machine.Name)
	}
	if i.lab.options.Engine == Qemu {
		return i.sshFromRouter(ctx, args), nil
	}
	leader, err := waitLeader(ctx, i.Namespace())
	if err != nil {
		return nil, fmt.Errorf("entering %q: %w", i.machine.Name, err)
	}
	enter := []string{"--target", fmt.Sprint(leader), "--all", "--", "/usr/bin/env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM")}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...), nil //nolint:gosec // the caller's own command
}

// Console is everything the machine wrote to its console, all boots.
func (i *Instance) Console() (string, error) {
	data, err := os.ReadFile(consolePath(i.lab.options.Name, i.machine.Name))
	return string(data), err
}

// BootConsole is what it wrote since its machine was last started.
func (i *Instance) BootConsole(ctx context.Context) (string, error) {
	if err := i.refresh(ctx); err != nil {
		return "", err
	}
	data, err := os.ReadFile(consolePath(i.lab.options.Name, i.machine.Name))
	if err != nil {
		return "", err
	}
	return string(data[min(int(i.machine.ConsoleOffset), len(data)):]), nil
}

// Journal is `journalctl ARGS` inside the instance.
func (i *Instance) Journal(ctx context.Context, args ...string) (string, error) {
	return i.Exec(ctx, append([]string{"journalctl", "--no-pager"}, args...)...)
}

// Result reads what firstboot reported in this boot, or [ErrNoResult].
func (i *Instance) Result(ctx context.Context) (Result, error) {
	var raw, bootID []byte
	if i.lab.options.Engine == Qemu {
		out, err := i.Exec(ctx, "cat", "/proc/sys/kernel/random/boot_id", resultPath)
		if err != nil {
			return Result{}, fmt.Errorf("%w: %w", ErrNoResult, err)
		}
		bootID, raw, _ = bytes.Cut([]byte(out), []byte("\n"))
	} else {
		var err error
		if raw, bootID, err = i.readResult(); err != nil {
			return Result{}, fmt.Errorf("%w: %w", ErrNoResult, err)
		}
	}
	result := Result{Raw: raw}
	if err := json.Unmarshal(raw, &result); err != nil {
		return Result{}, fmt.Errorf("parsing %s of %q: %w", resultPath, i.machine.Name, err)
	}
	if plainID(result.BootID) != plainID(string(bootID)) {
		return Result{}, ErrNoResult
	}
	return result, nil
}

// readResult reads the result's file and the boot's id in the container.
func (i *Instance) readResult() (result, bootID []byte, err error) {
	// Looking for the container reads all of /proc: not at every call, since
	// callers wait on this while machines boot.
	if !isLeader(i.leader, i.Namespace()) {
		if i.leader, err = findLeader(i.Namespace()); err != nil {
			return nil, nil, err
		}
	}
	root := fmt.Sprintf("/proc/%d/root", i.leader)
	if result, err = os.ReadFile(filepath.Join(root, resultPath)); err != nil {
		return nil, nil, err
	}
	bootID, err = os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	return result, bootID, err
}

// WaitReady waits until this boot of the instance reports "ready".
func (i *Instance) WaitReady(ctx context.Context) (Result, error) { return i.WaitState(ctx, "ready") }

// WaitState waits until this boot of the instance reports that state. When
// ctx ends first, the error tells the last state with its cause and the end
// of the console.
func (i *Instance) WaitState(ctx context.Context, state string) (Result, error) {
	// 20 ms: the bound on the first boot is 5 s, this adds less than 1 %.
	// Over SSH into an emulated machine a look costs far more than that.
	pause := 20 * time.Millisecond
	if i.lab.options.Engine == Qemu {
		pause = time.Second
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	last := "nothing"
	for {
		result, err := i.Result(ctx)
		if err == nil && result.State == state {
			return result, nil
		}
		if err == nil {
			last = fmt.Sprintf("%q: %s", result.State, result.Cause)
		}
		select {
		case <-ctx.Done():
			console, _ := i.Console()
			return result, fmt.Errorf("waiting for %q to report %q (it reported %s): %w\nend of its console:\n%s",
				i.machine.Name, state, last, ctx.Err(), lastLines([]byte(console), 15))
		case <-tick.C:
		}
	}
}

// Reboot restarts the machine cleanly, as EC2's RebootInstances does, and
// returns when it runs again (not yet when it is ready).
func (i *Instance) Reboot(ctx context.Context) error { return i.order(ctx, orderReboot) }

// PowerOff shuts the machine down cleanly and waits for its end.
func (i *Instance) PowerOff(ctx context.Context) error { return i.order(ctx, orderPowerOff) }

// Kill ends the machine at once, as when its power fails. Its disk stays.
func (i *Instance) Kill(ctx context.Context) error { return i.order(ctx, orderKill) }

// Start starts a machine that was powered off or killed.
func (i *Instance) Start(ctx context.Context) error { return i.order(ctx, orderStart) }

func (i *Instance) order(ctx context.Context, order machineOrder) error {
	machine, err := i.lab.agent.order(ctx, i.machine.Name, order)
	if err != nil {
		return fmt.Errorf("asking for %s of %q: %w", order, i.machine.Name, err)
	}
	i.machine = machine
	return nil
}

func (i *Instance) refresh(ctx context.Context) error {
	fresh, err := i.lab.Instance(ctx, i.machine.ID)
	if err != nil {
		return err
	}
	i.machine = fresh.machine
	return nil
}

// plainID writes a boot id as 32 hex digits: the kernel has dashes, systemd not.
func plainID(id string) string {
	return strings.ReplaceAll(strings.TrimSpace(id), "-", "")
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
