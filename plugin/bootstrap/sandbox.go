// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed scripts/sandbox.sh
var sandboxScript string

//go:embed scripts/mounts.sh
var mountsScript string

// Making namespaces takes milliseconds; ten seconds are a machine in trouble.
const sandboxDeadline = 10 * time.Second

// A process that does not close its output after it was killed is not waited for.
const killedDelay = 5 * time.Second

// sandbox is the set of namespaces that everything of the bake runs in which
// comes from a package or a provisioner. The SDK's chroot package mounts in the
// host's own tree and unmounts by hand, which leaves mounts behind when Packer is
// killed or a process in the chroot lives on; here, the kernel cleans up.
type sandbox struct {
	holder *exec.Cmd
	// lifeline is the holder's standard input: it ends when this is closed.
	lifeline io.Closer
	ended    chan struct{}
	once     sync.Once
}

func openSandbox(ctx context.Context) (*sandbox, error) {
	// The holder outlives no deadline of ctx: Close ends it, so that a step that
	// is still at work is ended before what it works on.
	holder := exec.Command("/bin/sh", "-c", sandboxScript) //nolint:noctx // see above
	holder.Env = toolEnv()
	holder.Dir = "/"
	holder.SysProcAttr = ownNamespaces()
	lifeline, err := holder.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making the bake's namespaces: %w", err)
	}
	ready, err := holder.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("making the bake's namespaces: %w", err)
	}
	complaint := &tail{}
	holder.Stderr = complaint
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("making the bake's namespaces: %w; in a container, it must be privileged", err)
	}
	s := &sandbox{holder: holder, lifeline: lifeline, ended: make(chan struct{})}
	first := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(ready).ReadString('\n')
		first <- err
		_ = holder.Wait() // it always ends by our hand
		close(s.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, sandboxDeadline)
	defer cancel()
	select {
	case err := <-first:
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("making the bake's namespaces: %s; in a container, it must be privileged", complaint)
		}
		return s, nil
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("making the bake's namespaces: %w", ctx.Err())
	}
}

// Close ends everything that runs in the sandbox and, with it, all its mounts. It
// returns when that is done. Closing twice is closing once.
func (s *sandbox) Close() {
	s.once.Do(func() {
		_ = s.lifeline.Close()
		// Only the deadline of a kernel that cannot end a process in the middle
		// of a read from a dead disk.
		select {
		case <-s.ended:
		case <-time.After(sandboxDeadline):
			_ = s.holder.Process.Kill()
		}
	})
}

// command runs a program of the host in the sandbox.
func (s *sandbox) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(s.holder.Process.Pid), "--mount", "--pid", "--ipc", "--uts", "--", name}
	cmd := hostCommand(ctx, "nsenter", append(enter, args...)...)
	return cmd
}

// chroot runs a program of the root file system in the sandbox.
func (s *sandbox) chroot(ctx context.Context, root, name string, args ...string) *exec.Cmd {
	cmd := s.command(ctx, "chroot", append([]string{root, name}, args...)...)
	cmd.Env = append(toolEnv(), "HOME=/root", "USER=root", "LOGNAME=root")
	return cmd
}

// prepare makes root a place where provisioners can run.
func (s *sandbox) prepare(ctx context.Context, root string) error {
	return run(s.command(ctx, "/bin/sh", "-c", mountsScript, "mounts.sh", root), "mounting what provisioners need")
}

// hostCommand is a program of the host that is killed, with what it started,
// when ctx ends.
func hostCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	if path, err := lookTool(name); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Env = toolEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = killedDelay
	return cmd
}

// toolEnv is the environment of everything that the bake runs: none of the
// user's but the proxies, so that the image does not depend on who bakes it.
func toolEnv() []string {
	env := []string{"PATH=" + toolPath, "LANG=C.UTF-8", "LC_ALL=C.UTF-8"}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// closeInheritedOnExec keeps what Packer and its caller left open in this process
// from the programs that it runs. mmdebstrap hands the number of a descriptor of
// its own to dash, which reads one digit: with ten inherited ones, it fails.
func closeInheritedOnExec() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("looking for inherited files: %w", err)
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// run runs cmd and puts the last it said into the error.
func run(cmd *exec.Cmd, doing string) error {
	said := &tail{}
	if cmd.Stdout == nil {
		cmd.Stdout = said
	}
	if cmd.Stderr == nil {
		cmd.Stderr = said
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", doing, err, said)
	}
	return nil
}

// tail keeps the end of what a program said, which is where it says why it
// failed. The zero value is ready; it is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	data []byte
}

// tailBytes is enough for the usual last words, and little enough for a line of
// Packer's output.
const tailBytes = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if len(t.data) > tailBytes {
		t.data = t.data[len(t.data)-tailBytes:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.data))
}
