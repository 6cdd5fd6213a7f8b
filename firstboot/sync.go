// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"
)

// SyncEnd is how the last sync ended: sync.json, beside the result.
type SyncEnd struct {
	Looked time.Time `json:"looked"` // when what is published was last seen, and taken
	Tried  time.Time `json:"tried"`
	// Brought is when something new was last brought in.
	Brought time.Time `json:"brought,omitzero"`
	Cause   string    `json:"cause,omitempty"` // of the last try, if it failed
	Advice  string    `json:"advice,omitempty"`
	// Seen is a digest of what was published when it was last seen.
	Seen string `json:"seen,omitempty"`
	// Read is when all of it was last read and found to be in force, and Glance
	// what tells at a glance that it still is ([boot.glance]).
	Read   time.Time `json:"read,omitzero"`
	Glance string    `json:"glance,omitempty"`
	// Failing is since when each try has failed.
	Failing time.Time `json:"failing,omitzero"`
	// Told is what the tags say.
	Told Signals `json:"told,omitzero"`
}

// glanceFor is how long a glance at the launch and at two secrets, every minute,
// stands for reading all of them, which may be 258. What it does not see, a
// shard that was spoilt behind an unchanged head, changes nothing that is in
// force, and is told of after this time.
const glanceFor = time.Hour

// retryAfter is how long what did not work is left alone, unless something else
// is published: a try costs a proof, and calls of EC2. It is the longest pause
// of vpnami-firstboot.service.
const retryAfter = 5 * time.Minute

// sync brings in what has been published since: revocations and people without
// anybody feeling it, a rotated certificate with a restart of the daemon. It
// looks first, and changes nothing unless there is something else to be had
// that can be used. Where there is, the rest is a run of the boot, with its
// proof and its way back.
//
// It returns an exit code, and says how it ended: on out, and on failed where
// nothing could be changed.
func (b boot) sync(ctx context.Context, out, failed io.Writer) int {
	bounded, cancel := context.WithTimeout(ctx, bootWithin)
	defer cancel()
	release, err := b.lock(bounded)
	if err != nil {
		return b.unsynced(failed, SyncEnd{}, err)
	}
	defer release()
	defer b.tell(ctx)
	last, err := readSync(b.layout.sync())
	if err != nil {
		// What it said is lost, and nothing hangs on it.
		b.log.Warn(err.Error())
	}
	last.Tried = b.now().UTC()
	before, err := b.finished()
	if err != nil {
		_, _ = fmt.Fprintf(failed, "nothing is brought in: %v\n", err)
		return exitWaiting
	}
	if before.Role == RoleStep {
		_, _ = fmt.Fprintln(out, "nothing to bring in: a bastion reads no secret")
		return exitReady
	}
	seen := last.Seen
	last, fresh, err := b.look(bounded, before, last)
	again := seen == last.Seen
	switch torn := b.torn(before); {
	case torn && before.settled():
	case err != nil && (before.settled() || b.serves(bounded)):
		return b.unsynced(failed, last, err)
	case !fresh && before.settled():
		return b.synced(out, last, fmt.Sprintf("nothing new: generation %d of the secret is in force", before.Server.Generation))
	case again && !before.settled() && b.now().Sub(before.Finished).Abs() < retryAfter && b.serves(bounded):
		_, _ = fmt.Fprintf(failed, "nothing new since, and tried at %s: %s\n", before.Finished.Format(time.RFC3339), before.Line())
		return before.State.exitCode()
	}
	// What goes on as it was is not told again, every time; what is new, at once.
	var told bytes.Buffer
	loud := b.console
	if !before.settled() {
		b.console = console{to: &told}
	}
	r := b.runLocked(bounded)
	b.console = loud
	if r.State != before.State || r.Cause != before.Cause {
		_, _ = loud.to.Write(told.Bytes())
	}
	if !r.settled() {
		// The result has it all.
		last.Cause, last.Advice = r.Cause, r.Advice
		b.note(last)
		_, _ = fmt.Fprintln(failed, r.Line())
		return r.State.exitCode()
	}
	last.Brought = b.now().UTC()
	if r.Server == nil { // a bastion now, by its tags
		return b.synced(out, last, r.Line())
	}
	return b.synced(out, last, fmt.Sprintf("brought in generation %d of the secret", r.Server.Generation))
}

// torn tells whether a run was ended from outside before it was over: nobody has
// heard of what it laid down, the daemon may wait for rules that nobody loads, and
// vpnami-firstboot.service, which has ended well, does not run again.
func (b boot) torn(before Result) bool {
	disk := store{layout: b.layout, bootID: before.BootID}
	now, _ := disk.read(b.layout.current())
	good, _ := disk.read(b.layout.proven())
	var told Result
	told.describe(now.record)
	return len(disk.waiting()) > 0 || now.Name != good.Name || !reflect.DeepEqual([]any{told.Port, told.Server, told.CRL}, []any{before.Port, before.Server, before.CRL})
}

// serves tells whether the daemon runs, so that trying again could cost sessions.
// Where it does not, or nobody knows, nothing is lost by it.
func (b boot) serves(ctx context.Context) bool {
	systemd, hangUp, err := b.connect(ctx)
	if err != nil {
		return false
	}
	defer hangUp()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	active, _, err := (&starter{units: systemd}).isActive(ctx, openvpnUnit)
	return err == nil && active
}

// finished is the result of this boot's run, of a gateway or bastion that has
// stood. Before that, a sync has nothing to bring anything into.
func (b boot) finished() (Result, error) {
	before, err := readResult(b.layout.result())
	if err != nil {
		return Result{}, fmt.Errorf("%w: the first run is not over", err)
	}
	bootID, _ := os.ReadFile(b.layout.bootID())
	if before.BootID != strings.TrimSpace(string(bootID)) {
		return Result{}, errors.New("the run of this boot is not over")
	}
	// What has never stood is tried by vpnami-firstboot.service. What has, and
	// does not now, may have been brought there by a sync: that service has
	// ended well, and nobody else would try again.
	if _, stood := (store{layout: b.layout}).read(b.layout.proven()); !stood && before.Role != RoleStep {
		return Result{}, fmt.Errorf("the instance is %s, vpnami-firstboot.service goes on trying: %s", before.State, before.Cause)
	}
	return before, nil
}

// look tells by digests, in what it returns of last, what is published, and
// whether it is other than what is in force. Nothing is written and nobody is
// told of the steps.
func (b boot) look(ctx context.Context, before Result, last SyncEnd) (_ SyncEnd, fresh bool, err error) {
	b.console, b.log = console{to: io.Discard}, slog.New(slog.DiscardHandler)
	in, err := b.launched(ctx, &Result{})
	if err != nil {
		return last, false, err
	}
	disk := store{layout: b.layout}
	now, ok := disk.read(b.layout.current())
	glance := ""
	if ok && before.settled() && in.config.Role == RoleVPN {
		if glance, err = b.glance(ctx, in, now, before); err != nil {
			return last, false, err
		}
		if glance == last.Glance && last.Cause == "" && b.now().Sub(last.Read).Abs() < glanceFor {
			return last, false, nil
		}
	}
	if in, err = b.published(ctx, &Result{}, in); err != nil {
		return last, false, err
	}
	next := recordOf(in)
	next.Files = digest(in.files)
	last.Seen = disk.attempt(in, fmt.Sprint(next.CRL, next.PreviousCRL, next.Server.Generation))
	fresh = !ok || before.Server == nil || in.instance.ID != before.Instance || !now.same(next) ||
		now.CRL != next.CRL || now.PreviousCRL != next.PreviousCRL || now.Server != next.Server
	last.Read, last.Glance = time.Time{}, ""
	if !fresh {
		last.Read, last.Glance = b.now().UTC(), glance
	}
	return last, fresh, nil
}

// glance is a digest of all that a look depends on: the launch, the program,
// what is in force since which run, the two secrets that name the others, and
// whether the certificates have ended.
func (b boot) glance(ctx context.Context, in intent, now generation, before Result) (string, error) {
	server, head, err := readTop(ctx, b.services(in.instance.Region).secrets, in.config.Secret)
	if err != nil {
		return "", err
	}
	described, err := now.description()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%+v %+v %q %s %s %s %x %x %t %t", in.instance, in.config, b.version, now.Name, described, before.Finished,
		sha256.Sum256(server), sha256.Sum256(head), b.now().After(now.Server.NotAfter), b.now().After(now.Server.CANotAfter))
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// synced notes that what is in force is what is published.
func (b boot) synced(out io.Writer, last SyncEnd, words string) int {
	if last.Cause != "" {
		b.console.say("sync: works again, %s", words)
	}
	last.Looked, last.Cause, last.Advice = last.Tried, "", ""
	b.note(last)
	_, _ = fmt.Fprintln(out, words)
	return exitReady
}

// unsynced notes why nothing was changed. A cause that lasts is told on the
// console once.
func (b boot) unsynced(failed io.Writer, last SyncEnd, cause error) int {
	state, advice := verdict(cause)
	words := oneLine(cause)
	if words != last.Cause {
		b.console.say("sync: nothing is changed: %s -- %s", words, advice)
	}
	last.Cause, last.Advice = words, advice
	b.note(last)
	_, _ = fmt.Fprintf(failed, "nothing is changed: %s -- %s\n", words, advice)
	return state.exitCode()
}

func (b boot) note(end SyncEnd) {
	if end.Tried.IsZero() {
		return // it did not come that far
	}
	switch {
	case end.Cause == "":
		end.Failing = time.Time{}
	case end.Failing.IsZero():
		end.Failing = end.Tried
	}
	data, err := json.MarshalIndent(end, "", "  ")
	if err == nil {
		err = replaceFile(b.layout.sync(), append(data, '\n'), 0o644)
	}
	if err != nil {
		b.log.Error("the sync's end is not written", "error", err.Error())
	}
}

// readSync reads how the last sync ended; nothing, if there was none.
func readSync(path string) (SyncEnd, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return SyncEnd{}, nil
	}
	if err != nil {
		return SyncEnd{}, fmt.Errorf("reading how the last sync ended: %w", err)
	}
	var end SyncEnd
	if err := json.Unmarshal(data, &end); err != nil {
		return SyncEnd{}, fmt.Errorf("reading how the last sync ended, in %q: %w", path, err)
	}
	return end, nil
}
