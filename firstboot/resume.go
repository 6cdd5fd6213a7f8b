// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
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
		if lasting.Err() != nil {
			err = fmt.Errorf("no answer within %s", askWithin)
		}
		end()
		return nil, nil, fmt.Errorf("connecting to systemd: %w", err)
	}
	return systemd, func() { hangUp(); end() }, nil
}

// resume goes back to the last generation that was proven, so that a gateway
// whose SSH is closed does not lose its tunnel too. Without one, nothing is
// left running.
func (b boot) resume(ctx context.Context, r *Result, up *starter, in intent, cause error) error {
	// The run's deadline may be what failed; the way back has one of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
	defer cancel()
	good, ok := up.store.read(up.store.layout.proven())
	if !ok {
		r.describe(record{})
		// The rules too: those of another instance may be in the kernel still.
		return errors.Join(cause, up.stop(ctx), up.filter(ctx))
	}
	r.Role = good.Role
	r.Instance = good.Instance
	b.console.say("going on with the last good state (generation %s): %s", good.Name, oneLine(cause))
	if err := up.store.stillRevoke(good, in); err != nil {
		b.warn(r, oneLine(err)) // without the way back, nobody might be let in at all
	}
	err := b.step(ctx, r, "restore", bootWithin, func(context.Context) error { return up.store.enforce(good) })
	if err == nil {
		err = b.operate(ctx, r, up, good)
	}
	if err != nil {
		return errors.Join(cause, fmt.Errorf("going on with the last good state: %w", err))
	}
	if good.Role == RoleVPN && in.instance.Region != "" {
		// What was proven may not have been sealed yet, or opened again.
		if err := b.close(ctx, r, in.instance, good); err != nil {
			b.warn(r, oneLine(err))
		}
	}
	return &keptRunningError{cause: cause}
}

// keptRunningError is a cause for which the last good state was kept, and runs.
type keptRunningError struct{ cause error }

func (k *keptRunningError) Error() string { return k.cause.Error() }
func (k *keptRunningError) Unwrap() error { return k.cause }

// admitted refuses a launch that moves the daemon to a port to which nobody is
// let in, while the one before it serves: SSH may be closed behind that one,
// and the tunnel would be lost too. It is asked before the daemon is touched,
// so that trying again costs no session.
func (b boot) admitted(ctx context.Context, r *Result, disk store, in intent) error {
	good, ok := disk.read(b.layout.proven())
	if !ok || good.Role != RoleVPN || in.config.Role != RoleVPN || good.Port == in.config.Port && good.Proto == in.config.Proto {
		return nil
	}
	return b.step(ctx, r, "admit", askWithin, func(ctx context.Context) error {
		gate, err := readGate(ctx, b.services(in.instance.Region).ingress, in.instance.Groups)
		if err != nil {
			return err
		}
		_, err = gate.admits(in.config.Proto, in.config.Port, in.instance.VPC)
		return err
	})
}

// outdated refuses a revocation list that is older than one that was in force:
// it would let people in again who were shut out. Numbers rise under one CA.
func (b boot) outdated(r *Result, disk store, in intent) error {
	if in.config.Role != RoleVPN {
		return nil
	}
	offered := recordOf(in)
	for _, link := range []string{b.layout.current(), b.layout.proven()} {
		known, ok := disk.read(link)
		if !ok {
			continue
		}
		for _, before := range []CRLEnd{known.CRL, known.PreviousCRL} {
			for _, now := range []CRLEnd{offered.CRL, offered.PreviousCRL} {
				if olderList(before, now) {
					return refusing(fmt.Errorf("looking at the revocation list: the secret's has the number %s, and %s was in force under the same CA: it is an older one", now.Number, before.Number),
						"publish again from the authority's newest folder with \"vpnami-pki publish\"; if that folder was restored from a backup, launch a new instance")
				}
			}
		}
		if known.CRL.Issuer == offered.CRL.Issuer && offered.Server.Generation < known.Server.Generation {
			b.warn(r, fmt.Sprintf("the secret is of generation %d, and %d was in force: somebody has published from an older folder", offered.Server.Generation, known.Server.Generation))
			return nil
		}
	}
	return nil
}

// olderList tells whether a list is older than another of the same CA.
func olderList(before, now CRLEnd) bool {
	old, ok1 := new(big.Int).SetString(before.Number, 10)
	offered, ok2 := new(big.Int).SetString(now.Number, 10)
	return before.Issuer != "" && before.Issuer == now.Issuer && ok1 && ok2 && offered.Cmp(old) < 0
}
