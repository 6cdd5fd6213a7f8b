// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// machineOrder is what a machine can be asked for.
type machineOrder string

const (
	orderStart    machineOrder = "start"
	orderReboot   machineOrder = "reboot"
	orderPowerOff machineOrder = "poweroff"
	orderKill     machineOrder = "kill"
)

// shutdownTime bounds a clean shutdown. systemd itself gives a unit 90 s; an
// instance of ours needs a second, an emulated one ten.
const shutdownTime = 60 * time.Second

// station is where a machine stands: its names, folders and addresses.
type station struct {
	lab      string
	name     string
	mac      string
	hostname string
	ns       namespace
	image    string // what its disk begins as: a root file system, or a disk
	disk     string // folder of its disk
	console  string // file
	endpoint string // AWS_ENDPOINT_URL for its systemd
}

// engine runs machines: containers or whole machines.
type engine interface {
	// plug makes the machine's network anew.
	plug(ctx context.Context, s station) error
	// command is one boot of the machine: the process ends with the machine.
	command(s station) (*exec.Cmd, error)
	// rebooted tells whether the machine ended in order to start again.
	rebooted(end *os.ProcessState) bool
	// shutdown asks the running machine to shut down.
	shutdown(s station, order machineOrder) error
	// kill ends it at once.
	kill(s station, cmd *exec.Cmd) error
	// release frees what the machine's disk holds beside its folder.
	release(s station) error
}

// machine supervises one instance's machine: it boots it, boots it again
// after a reboot, and takes orders.
type machine struct {
	station
	engine  engine
	plugged func(ctx context.Context) error // brings the fabric up to date
	log     *slog.Logger

	mu       sync.Mutex
	orders   sync.Mutex // one order at a time
	state    MachineState
	cmd      *exec.Cmd
	gone     chan struct{} // closed when this boot's process has ended
	ended    chan struct{} // closed when it was started again after that, or will not be
	boots    int
	restart  bool // start again after this end, although the machine does not ask for it
	stopping bool
}

func (m *machine) snapshot() MachineState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

func (m *machine) bootCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boots
}

// start boots the machine and supervises it from then on.
func (m *machine) start(ctx context.Context) error {
	m.mu.Lock()
	running := m.state.Running
	m.mu.Unlock()
	if running {
		return nil
	}
	if err := m.boot(ctx); err != nil {
		m.mu.Lock()
		m.state.Error = err.Error()
		m.mu.Unlock()
		return err
	}
	go m.supervise(ctx)
	return nil
}

func (m *machine) boot(ctx context.Context) error {
	if err := os.MkdirAll(m.disk, 0o700); err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	if err := m.engine.plug(ctx, m.station); err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	if err := m.plugged(ctx); err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	cmd, err := m.engine.command(m.station)
	if err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	console, err := os.OpenFile(m.console, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	defer console.Close()
	offset, err := console.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	if cmd.Stdout == nil {
		cmd.Stdout = console
	}
	cmd.Stderr = console
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("booting %q: %w", m.name, err)
	}
	m.mu.Lock()
	m.cmd, m.gone, m.ended, m.restart = cmd, make(chan struct{}), make(chan struct{}), false
	m.boots++
	m.state.Running, m.state.Started, m.state.ConsoleOffset, m.state.Error = true, started, offset, ""
	m.mu.Unlock()
	m.log.Info("machine started", "instance", m.name, "pid", cmd.Process.Pid)
	return nil
}

// supervise waits for the end of each boot. When the agent is ended first,
// what is left is found by Down.
func (m *machine) supervise(ctx context.Context) {
	for {
		m.mu.Lock()
		cmd, gone, ended := m.cmd, m.gone, m.ended
		m.mu.Unlock()
		err := cmd.Wait()
		close(gone)
		m.mu.Lock()
		again := (m.engine.rebooted(cmd.ProcessState) || m.restart) && !m.stopping
		m.state.Running = false
		m.mu.Unlock()
		m.log.Info("machine ended", "instance", m.name, "how", cmd.ProcessState.String(), "again", again, "err", err)
		if again {
			if err = m.boot(ctx); err == nil {
				close(ended)
				continue
			}
			m.log.Error("machine does not start again", "instance", m.name, "err", err)
			m.mu.Lock()
			m.state.Error = err.Error()
			m.mu.Unlock()
		}
		close(ended)
		return
	}
}

func (m *machine) obey(ctx context.Context, order machineOrder) error {
	m.orders.Lock()
	defer m.orders.Unlock()
	m.log.Info("machine ordered", "instance", m.name, "order", order)
	switch order {
	case orderStart:
		m.mu.Lock()
		m.stopping = false
		m.mu.Unlock()
		return m.start(ctx)
	case orderKill:
		return m.stop(func(cmd *exec.Cmd) error { return m.engine.kill(m.station, cmd) })
	case orderPowerOff:
		return m.stop(func(*exec.Cmd) error { return m.shutdown(orderPowerOff) })
	case orderReboot:
		return m.reboot()
	}
	return fmt.Errorf("order %q: want start, reboot, poweroff or kill", order)
}

func (m *machine) stop(by func(*exec.Cmd) error) error {
	m.mu.Lock()
	running, cmd, ended := m.state.Running, m.cmd, m.ended
	m.stopping = true
	m.mu.Unlock()
	if !running {
		return nil
	}
	if err := by(cmd); err != nil {
		return fmt.Errorf("stopping %q: %w", m.name, err)
	}
	if !waitClosed(ended, shutdownTime) {
		return fmt.Errorf("stopping %q: it did not end within %s", m.name, shutdownTime)
	}
	return nil
}

// shutdown asks the machine to shut down until it has. A machine that has
// only just begun to boot does not hear it: PID 1 has no ears yet.
func (m *machine) shutdown(order machineOrder) error {
	m.mu.Lock()
	gone := m.gone
	m.mu.Unlock()
	var err error
	for deadline := time.Now().Add(shutdownTime); time.Now().Before(deadline); {
		select {
		case <-gone:
			return nil
		default:
		}
		err = m.engine.shutdown(m.station, order)
		// A container of ours is down after 1 s, so few need a second call.
		if waitClosed(gone, 2*time.Second) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("it did not shut down within %s", shutdownTime), err)
}

func (m *machine) reboot() error {
	m.mu.Lock()
	running, ended, boots := m.state.Running, m.ended, m.boots
	m.restart = true
	m.mu.Unlock()
	if !running {
		return fmt.Errorf("rebooting %q: it is not running", m.name)
	}
	if err := m.shutdown(orderReboot); err != nil {
		return fmt.Errorf("rebooting %q: %w", m.name, err)
	}
	if !waitClosed(ended, shutdownTime) {
		return fmt.Errorf("rebooting %q: it did not start again within %s", m.name, shutdownTime)
	}
	if m.bootCount() == boots {
		return fmt.Errorf("rebooting %q: %s", m.name, m.snapshot().Error)
	}
	return nil
}

// remove ends the machine and removes its disk, its namespace and its port.
func (m *machine) remove(ctx context.Context, t topology) error {
	err := m.obey(ctx, orderKill)
	return errors.Join(err, m.engine.release(m.station), t.unplug(m.ns, m.name), os.RemoveAll(m.disk))
}

func waitClosed(c <-chan struct{}, wait time.Duration) bool {
	select {
	case <-c:
		return true
	case <-time.After(wait):
		return false
	}
}

func newStation(lab, name, mac, hostname string) station {
	return station{
		lab: lab, name: name, mac: mac, hostname: hostname,
		ns:       openNamespace(namespaceName(lab, name)),
		disk:     filepath.Join(diskDir(lab), name),
		console:  consolePath(lab, name),
		endpoint: endpointURL,
	}
}
