// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/moto"
)

// Agent is the process behind a running lab: the API's front, the fabric's
// keeper and the machines' supervisor. It is started by [Up] through the
// program's `agent` verb and ended by [Down].
type Agent struct {
	options  Options
	topology topology
	engine   engine
	cloud    cloud
	log      *slog.Logger

	image     string // what Options.Image is booted from: a root file system, or a disk
	publicKey string
	operator  Keys
	vpc       VPC

	// One look at EC2 brings everything up to then into force.
	arrived  atomic.Int64
	keeping  sync.Mutex
	kept     int64
	keptErr  error
	metadata *metadataFront

	mu       sync.Mutex
	images   map[string]string   // what instances boot, by AMI id
	machines map[string]*machine // by instance id
	started  map[string]bool     // instance ids that EC2 last showed as running
}

// RunAgent builds the lab that the options name and serves it until ctx ends.
// It is for the program's `agent` verb; others use [Up].
func RunAgent(ctx context.Context, options Options) error {
	a := &Agent{
		options: options, topology: newTopology(options), log: options.Log,
		images: map[string]string{}, machines: map[string]*machine{}, started: map[string]bool{},
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"namespaces", func(context.Context) error { return a.topology.build(options) }},
		{"image", a.openImage},
		{"key", a.makeKey},
		{"moto", a.startMoto},
		{"operator", a.makeOperator},
		{"fabric", func(ctx context.Context) error { return a.topology.enforce(ctx, network{}) }},
		{"dhcp", a.startDHCP},
		{"metadata", a.startMetadata},
		{"api", a.startFront},
		{"vpc", a.makeVPC},
	} {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("making %s: %w", step.name, err)
		}
		a.log.Info("made", "what", step.name, "took", time.Since(start).Round(time.Millisecond))
	}
	state := State{Schema: stateSchema, Options: options, VPC: a.vpc, Operator: a.operator}
	if err := state.write(); err != nil {
		return err
	}
	return a.serve(ctx)
}

func (a *Agent) openImage(ctx context.Context) error {
	if a.options.Engine == Qemu {
		f, err := findFirmware()
		a.engine, a.image = machines{topology: a.topology, firmware: f}, filepath.Join(a.options.Image, "disk.raw")
		return err
	}
	root, err := unpackRoot(ctx, a.options.Image)
	a.engine, a.image = containers{topology: a.topology}, root
	return err
}

func (a *Agent) makeKey(ctx context.Context) error {
	path := filepath.Join(runDir(a.options.Name), "key")
	out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab-"+a.options.Name, "-f", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(out, 3))
	}
	public, err := os.ReadFile(path + ".pub")
	a.publicKey = string(public)
	return err
}

// startProcess starts a station's program in a namespace, with its own log.
func (a *Agent) startProcess(ns namespace, logName, program string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(logDir(a.options.Name), logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := ns.detached(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %q: %w", program, err)
	}
	go func() {
		err := cmd.Wait()
		a.log.Debug("process ended", "program", program, "log", logName, "err", err)
	}()
	return cmd, nil
}

const motoURL = "http://127.0.0.1:5000"

func (a *Agent) startMoto(ctx context.Context) error {
	environment, err := moto.Supplement(filepath.Join(runDir(a.options.Name), "moto"))
	if err != nil {
		return err
	}
	if _, err := a.startProcess(a.topology.aws, "moto.log", "env", append(environment, a.options.Moto, "-H", "127.0.0.1", "-p", "5000")...); err != nil {
		return err
	}
	a.cloud = newCloud(awsConfigAt(a.topology.aws, motoURL, anybody()))
	// Python's start takes a second, two on a busy machine.
	return a.waitListening(ctx, "127.0.0.1:5000", 30*time.Second)
}

func (a *Agent) waitListening(ctx context.Context, address string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		conn, err := a.topology.aws.dial(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s (see %s): %w", address, logDir(a.options.Name), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (a *Agent) makeVPC(ctx context.Context) error {
	var err error
	a.vpc, err = makeArticleVPC(ctx, a.cloud.ec2, []byte(a.publicKey))
	if err != nil {
		return err
	}
	a.boots(a.vpc.Image, a.image)
	// Loads what moto loads late, before anybody measures.
	_, err = a.cloud.look(ctx)
	return err
}

// keep brings what EC2 says now into force and starts and ends machines
// accordingly. Callers that wait at the same time share one look.
func (a *Agent) keep(ctx context.Context) error {
	arrived := a.arrived.Add(1)
	a.keeping.Lock()
	defer a.keeping.Unlock()
	if a.kept >= arrived {
		return a.keptErr
	}
	a.kept = a.arrived.Load()
	a.keptErr = a.keepNow(ctx)
	if a.keptErr != nil {
		a.log.Error("bringing EC2's state into force", "err", a.keptErr)
	}
	return a.keptErr
}

func (a *Agent) keepNow(ctx context.Context) error {
	look, err := a.cloud.look(ctx)
	if err != nil {
		return err
	}
	actions := a.match(ctx, look)
	n := look.network(a.names())
	if err := a.writeHosts(look); err != nil {
		return err
	}
	if err := a.topology.enforce(ctx, n); err != nil {
		return err
	}
	if err := a.metadata.update(ctx, a.cloud, look, a.names()); err != nil {
		return err
	}
	for _, act := range actions {
		go act()
	}
	return nil
}

// boots says what instances of an AMI boot. Those of others, such as the one that a
// bake provisions in its own way, have no machine.
func (a *Agent) boots(ami, from string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.images[ami] = from
}

func (a *Agent) names() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	names := map[string]string{}
	for id, m := range a.machines {
		names[id] = m.name
	}
	return names
}

// serve answers the library over a unix socket until ctx ends.
func (a *Agent) serve(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socketPath(a.options.Name))
	if err != nil {
		return fmt.Errorf("listening for the library: %w", err)
	}
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	a.log.Info("lab is up", "lab", a.options.Name)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the library: %w", err)
	}
	return nil
}
