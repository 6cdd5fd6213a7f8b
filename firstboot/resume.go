// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// connect dials systemd. The connection ends with the context that it was
// dialled with, and the way back needs it after the run's own has ended.
func (b boot) connect(ctx context.Context) (units, func(), error) {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	tooLong := time.AfterFunc(askWithin, end)
	systemd, hangUp, err := b.systemd(lasting)
	if err == nil && !tooLong.Stop() {
		hangUp()
		err = context.DeadlineExceeded
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("connecting to systemd: %w", err)
	}
	return systemd, func() { hangUp(); end() }, nil
}

// resume goes back to the last generation that was proven, so that a gateway
// whose SSH is closed does not lose its tunnel too. Without one, nothing is
// left running.
func (b boot) resume(ctx context.Context, r *Result, up starter, in intent, cause error) error {
	// The run's deadline may be what failed; the way back has one of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
	defer cancel()
	good, ok := up.store.read(up.store.layout.proven())
	if !ok {
		if err := stopOpenVPN(ctx, up.units); err != nil {
			return errors.Join(cause, err)
		}
		return cause
	}
	if r.Role == "" {
		r.Role = good.Role
	}
	r.Instance = good.Instance
	b.console.say("going on with the last good state (generation %s): %s", good.Name, oneLine(cause))
	err := b.step(ctx, r, "restore", bootWithin, func(context.Context) error { return up.store.enforce(good) })
	if err == nil {
		err = b.operate(ctx, r, up, good)
	}
	if err != nil {
		return errors.Join(cause, fmt.Errorf("going on with the last good state: %w", err))
	}
	if good.Role == RoleVPN && in.config.Role == RoleVPN {
		// What was proven may not have been sealed yet, or opened again.
		if err := b.close(ctx, r, in); err != nil {
			b.warn(r, oneLine(err))
		}
	}
	return &keptRunningError{cause: cause}
}

// keptRunningError is a cause for which the last good state was kept, and runs.
type keptRunningError struct{ cause error }

func (k *keptRunningError) Error() string { return k.cause.Error() }
func (k *keptRunningError) Unwrap() error { return k.cause }

// disown wipes the state of another instance: this one was launched from an
// image that was made of it.
func (b boot) disown(disk store, id string) error {
	if id == "" {
		// On Nitro the firmware says it too, which cannot be away.
		tag, _ := os.ReadFile(b.layout.assetTag())
		if id = strings.TrimSpace(string(tag)); !instanceID.MatchString(id) {
			return nil
		}
	}
	for _, link := range []string{b.layout.current(), b.layout.proven()} {
		if g, ok := disk.read(link); ok && g.Instance != id {
			b.console.say("the state is of instance %s and this is %s: starting over", g.Instance, id)
			return disk.wipe()
		}
	}
	return nil
}
