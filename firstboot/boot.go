// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

const (
	// bootWithin is the one deadline of a run. On a slow machine without
	// hardware virtualisation starting the units takes some 20 seconds.
	bootWithin = 90 * time.Second
	// askWithin bounds each of the places that wait for an answer before there
	// is any, so that the first cause stands on the console within 5 seconds.
	askWithin = 4 * time.Second
	// tellAfter: what is not over by then, and may take its time (systemd's jobs
	// do), says what it waits for, within the same 5 seconds.
	tellAfter = 4500 * time.Millisecond
	// lockWithin: a run takes a second or two. Whoever finds another at work for
	// longer comes again, by the unit's restart or the timer.
	lockWithin = 10 * time.Second
	// unsealWithin: the largest roster is 256 secrets, each of which answers
	// within some 50 ms, and askWithin bounds each by itself.
	unsealWithin = 30 * time.Second
	// ec2Within: two descriptions, a revocation, the reading back.
	ec2Within = 15 * time.Second
	// startWithin: a machine without hardware virtualisation takes some ten seconds
	// to confine the units.
	startWithin = 60 * time.Second
	// restoreWithin is for going back to the last good state, or stopping.
	restoreWithin = 60 * time.Second
)

// boot is one run, with everything that it touches. main makes it.
type boot struct {
	log       *slog.Logger
	console   console
	layout    layout
	placement placement
	metadata  metadata
	services  func(region string) services
	// tokenless tells whether the metadata service answers without a token.
	tokenless func(context.Context) bool
	// far tells whether its tokens go further than to this machine.
	far       func(context.Context) bool
	systemd   func(context.Context) (units, func(), error)
	lastWords func(ctx context.Context, unit string) string
	doing     *doing
	now       func() time.Time
	version   string
}

// intent is what an instance is to become, before anything is written.
type intent struct {
	instance Instance
	config   Config
	bundle   bundle.Bundle
	files    []File
}

// run is the whole of a boot, and always has a result.
func (b boot) run(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, bootWithin)
	defer cancel()
	release, err := b.lock(ctx)
	if err != nil {
		r := Result{Schema: resultSchema, Version: b.version, Started: b.now().UTC(), Steps: []Step{}, Cause: oneLine(err)}
		if r.State, r.Advice = verdict(err); r.State != Waiting {
			b.report(ctx, &r, intent{})
			return r
		}
		// Whoever is at work writes the result.
		b.console.say("%s", r.Line())
		b.log.Error(r.Line())
		return r
	}
	defer release()
	return b.runLocked(ctx)
}

// lock waits until nobody else works.
func (b boot) lock(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWithin)
	defer cancel()
	slow := time.AfterFunc(tellAfter, func() { b.console.say("another vpnami-firstboot is at work: waiting for its end") })
	defer slow.Stop()
	return b.layout.lock(ctx)
}

// runLocked is run, while nobody else works.
func (b boot) runLocked(ctx context.Context) Result {
	r := &Result{Schema: resultSchema, Version: b.version, Started: b.now().UTC(), Steps: []Step{}}
	before, _ := readResult(b.layout.result()) // none on a first boot
	bootID, _ := os.ReadFile(b.layout.bootID())
	r.BootID = strings.TrimSpace(string(bootID))

	in, dismiss, cause := b.become(ctx, r)
	r.State = Ready
	if cause != nil {
		r.State, r.Advice = verdict(cause)
		r.Cause = oneLine(cause)
		// What was once ready and still runs is not waiting for its start.
		once := before.Instance == r.Instance && (before.State == Ready || before.State == Degraded)
		var kept *keptRunningError
		if errors.As(cause, &kept) || once && r.State == Waiting && r.ran("prove") {
			r.State = Degraded
		}
	}
	b.report(ctx, r, in)
	// Nobody who waits for the gateway waits for the proof's client, which has
	// been asked to leave; but the run does not end before it is gone.
	dismiss()
	return *r
}

// become makes the instance what it was launched as: first everything that
// needs the network, then what is pure, then what writes. What it returns beside
// the intent ends what the run has started for itself.
func (b boot) become(ctx context.Context, r *Result) (_ intent, dismiss func(), _ error) {
	dismiss = func() {}
	daemon, err := findAccount(b.layout.passwd(), daemonAccount)
	if err != nil {
		return intent{}, dismiss, err
	}
	disk := store{layout: b.layout, group: daemon.gid, bootID: r.BootID}
	if err := disk.sweep(); err != nil {
		return intent{}, dismiss, err
	}
	in, cause := b.learn(ctx, r)
	if err := b.disown(disk, in.instance.ID); err != nil {
		return in, dismiss, errors.Join(cause, err)
	}
	systemd, hangUp, err := b.connect(ctx)
	if err != nil {
		return in, dismiss, errors.Join(cause, err)
	}
	up := &starter{units: systemd, store: disk, lastWords: b.lastWords, doing: b.doing}
	dismiss = func() {
		if err := up.dismiss(ctx); err != nil {
			b.log.Warn(oneLine(err))
		}
		hangUp()
	}

	if in.instance.ID != "" {
		defer b.loosely(ctx, r, in.instance.ID)()
	}
	if cause == nil {
		cause = b.outdated(r, disk, in)
	}
	if cause == nil {
		cause = b.admitted(ctx, r, disk, in)
	}
	if cause == nil {
		cause = b.told(disk, in)
	}
	attempt := disk.attempt(in, b.version)
	if cause == nil {
		cause = disk.failed(attempt)
	}
	if cause != nil {
		return in, dismiss, b.resume(ctx, r, up, in, cause)
	}
	var placed generation
	err = b.step(ctx, r, "place", bootWithin, func(ctx context.Context) error {
		next := recordOf(in)
		next.Version, next.Machine = b.version, firmware(b.layout.productUUID())
		placed, err = disk.place(ctx, in.files, next)
		return err
	})
	if err != nil {
		return in, dismiss, b.resume(ctx, r, up, in, err)
	}
	if err := b.operate(ctx, r, up, placed); err != nil {
		if good, ok := disk.read(b.layout.proven()); ok && good.Name == placed.Name {
			// There is nothing else to go back to. It was proven once, so it
			// is left running: that it cannot be proven now may pass.
			return in, dismiss, err
		}
		end := b.resume(ctx, r, up, in, err)
		good, _ := disk.read(b.layout.current())
		// Where the daemon was not started anew, to try again costs no session,
		// and may be what shuts somebody out.
		if _, kept := errors.AsType[*keptRunningError](end); kept && ctx.Err() == nil && good.Daemon != placed.Daemon {
			end = errors.Join(end, disk.setFailed(attempt, err))
		}
		return in, dismiss, end
	}
	if err := disk.forget(); err != nil {
		return in, dismiss, err
	}
	if in.config.Role == RoleStep {
		return in, dismiss, nil
	}
	if doubt := offloadDoubt(b.layout, in.bundle.Server.Wrapping); doubt != "" {
		b.warn(r, doubt)
	}
	if err := b.close(ctx, r, in.instance, placed); err != nil {
		return in, dismiss, err
	}
	if doubt := r.Own.doubt(); doubt != "" {
		b.warn(r, doubt)
	}
	if lack := r.Own.lack(); lack != nil {
		return in, dismiss, &keptRunningError{cause: lack}
	}
	return in, dismiss, nil
}

// learn asks for everything, and works out everything, that the rest needs.
func (b boot) learn(ctx context.Context, r *Result) (intent, error) {
	in, err := b.launched(ctx, r)
	if err != nil {
		return in, err
	}
	return b.published(ctx, r, in)
}

// launched is what the instance itself tells.
func (b boot) launched(ctx context.Context, r *Result) (in intent, err error) {
	err = b.step(ctx, r, "identify", askWithin, func(ctx context.Context) error {
		in.instance, err = identify(ctx, b.metadata)
		r.Instance = in.instance.ID
		return err
	})
	if err != nil {
		return in, err
	}
	err = b.step(ctx, r, "configure", askWithin, func(context.Context) error {
		in.config, err = configure(in.instance)
		r.Role = in.config.Role
		return err
	})
	return in, err
}

// published adds what the secrets tell, and the files that follow from it all.
func (b boot) published(ctx context.Context, r *Result, in intent) (_ intent, err error) {
	if in.config.Role == RoleVPN {
		err = b.step(ctx, r, "unseal", unsealWithin, func(ctx context.Context) error {
			var warnings []bundle.Warning
			in.bundle, warnings, err = unseal(ctx, b.services(in.instance.Region).secrets, in.config.Secret, b.now())
			for _, warning := range warnings {
				b.warn(r, warning.Text)
			}
			return err
		})
		if err != nil {
			return in, err
		}
	}
	err = b.step(ctx, r, "render", askWithin, func(context.Context) error {
		in.files, err = render(in.config, in.bundle, b.placement, in.instance)
		return err
	})
	return in, err
}

// operate starts what was laid down, and proves it.
func (b boot) operate(ctx context.Context, r *Result, up *starter, g generation) error {
	r.describe(g.record)
	err := b.step(ctx, r, "start", startWithin, func(ctx context.Context) error {
		if g.Role == RoleVPN {
			return up.serve(ctx)
		}
		if err := up.filter(ctx); err != nil {
			return err
		}
		return up.stop(ctx)
	})
	if err != nil {
		return err
	}
	if g.Role == RoleVPN {
		if err := b.step(ctx, r, "prove", proveWithin, up.prove); err != nil {
			return err
		}
		if err := b.step(ctx, r, "forward", askWithin, func(context.Context) error { return forwards(b.layout) }); err != nil {
			return err
		}
	}
	return up.store.keep(g)
}

// close closes SSH behind the proven tunnel: the one that runs, which need not
// be the one that was launched.
func (b boot) close(ctx context.Context, r *Result, instance Instance, g generation) error {
	return b.step(ctx, r, "seal", ec2Within, func(ctx context.Context) error {
		service := b.services(instance.Region).ingress
		gate, err := readGate(ctx, service, instance.everyGroup())
		if err != nil {
			return err
		}
		doubt, err := gate.of(instance.Groups).admits(g.Proto, g.Port, instance.VPC)
		if err != nil {
			return err
		}
		if doubt != "" {
			b.warn(r, doubt)
		}
		r.SSH = &SSHEnd{Revoked: []string{}, Left: []Left{}}
		plan, err := seal(ctx, service, instance, gate, func(rule Rule) {
			b.log.InfoContext(ctx, "revoked", "rule", rule.String())
			r.SSH.Revoked = append(r.SSH.Revoked, rule.ID)
		})
		for _, left := range plan.Left {
			b.warn(r, fmt.Sprintf("SSH stays open from outside the VPC by %s: %s", left.What, left.Why))
			r.SSH.Left = append(r.SSH.Left, left)
		}
		return err
	})
}

// step runs one step, and is the only place that times and logs them.
func (b boot) step(ctx context.Context, r *Result, name string, within time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	b.doing.note("")
	slow := time.AfterFunc(tellAfter, func() {
		b.console.say("%s is not over after %s%s; it is given up after %s", name, tellAfter, b.doing.what(), within)
	})
	defer slow.Stop()
	began := time.Now()
	err := do(ctx)
	took := time.Since(began)
	r.Steps = append(r.Steps, Step{Name: name, TookMS: took.Milliseconds(), Failed: err != nil})
	if err != nil {
		b.log.ErrorContext(ctx, "step failed", "step", name, "took", took, "error", err.Error())
		// At once: what follows, going back and the tags, may take its time.
		b.console.say("%s failed: %s", name, oneLine(err))
		return err
	}
	b.log.InfoContext(ctx, "step", "step", name, "took", took)
	b.console.say("%s (%s)", name, took.Round(time.Millisecond))
	return nil
}

func (r *Result) ran(step string) bool {
	for _, s := range r.Steps {
		if s.Name == step && !s.Failed {
			return true
		}
	}
	return false
}

func (b boot) warn(r *Result, text string) {
	r.Warnings = append(r.Warnings, text)
	b.console.say("warning: %s", text)
	b.log.Warn(text)
}

// report tells how it ended: by the file that says that it is over, by the
// tags, in the journal and on the console. A cause stood there already. The
// tags come after the file, so that none says ready where it cannot be written.
func (b boot) report(ctx context.Context, r *Result, in intent) {
	// The run's deadline may be over, and the tags would keep the old state.
	ctx = context.WithoutCancel(ctx)
	r.Finished = b.now().UTC()
	written := writeResult(b.layout.result(), *r)
	if written != nil {
		// Whoever waits for the marker waits on: it was not the end.
		r.State, r.Cause = Refused, strings.TrimPrefix(r.Cause+"; "+oneLine(written), "; ")
		_, r.Advice = verdict(written)
	}
	if in.instance.Region != "" && r.Role == RoleVPN {
		if err := tagInstance(ctx, b.services(in.instance.Region).tags, *r); err != nil {
			b.warn(r, err.Error())
			if written == nil {
				written = writeResult(b.layout.result(), *r)
			}
		}
	}
	if written != nil {
		b.log.ErrorContext(ctx, "the result is not written", "error", written.Error())
	}
	b.log.InfoContext(ctx, "finished", "state", r.State, "cause", r.Cause, "took", r.took())
	b.console.say("%s", r.Line())
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
