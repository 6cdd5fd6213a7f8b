// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// Two files are locked. "lock" is held by the one command that writes in the folder,
// and never while something outside is waited for but a signature of KMS.
// "publish.lock" is held by the one publish that is under way, for as long as AWS
// takes: one that began earlier must not write over one that began later.

// lockFile is the first of the two.
const lockFile = "lock"

// lockWait is how long a command waits for another to end: longer than any but
// a huge one takes, shorter than a person's patience.
const lockWait = 10 * time.Second

// lockPause is between two tries.
const lockPause = 50 * time.Millisecond

// Lock makes this process the only one that writes, until release is called. It returns
// the authority as it is then: another may have written while this one waited.
func (f Folder) Lock(ctx context.Context) (current Folder, release func() error, err error) {
	path := f.at(lockFile)
	f.lock, err = acquire(ctx, path, lockWait, 0)
	switch {
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil: // not the caller's own
		err = fmt.Errorf("another vpnami-pki is writing in it for more than %s%s: wait for it to end", lockWait, heldBy(path).inBrackets())
	}
	if err != nil {
		return Folder{}, nil, fmt.Errorf("locking the authority in %q: %w", f.path, err)
	}
	if current, err = f.Reopen(); err != nil {
		return Folder{}, nil, errors.Join(err, letGo(f.lock))
	}
	return current, func() error { return letGo(f.lock) }, nil
}

// LockPublish makes this process the only one that publishes what the folder has,
// until release is called. Nobody holds it for longer than a given time, nor waits for
// longer; waits is called if another holds it.
func (f Folder) LockPublish(ctx context.Context, longest time.Duration, waits func(Holder)) (release func() error, err error) {
	path := f.at("publish.lock")
	// Not at once: who ends just now is not worth a word.
	lock, err := acquire(ctx, path, time.Second, longest)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		waits(heldBy(path))
		lock, err = acquire(ctx, path, longest, longest)
	}
	switch {
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("another publish is under way for more than %s%s: end it, and publish again", longest, heldBy(path).inBrackets())
	}
	if err != nil {
		return nil, fmt.Errorf("locking the authority in %q for a publish: %w", f.path, err)
	}
	return func() error { return letGo(lock) }, nil
}

// acquire locks a file, and writes in it who has it and, if that is known, for how
// long at most. The error is that of the context if another holds it.
func acquire(ctx context.Context, path string, wait, longest time.Duration) (*flock.Flock, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	lock := flock.New(path)
	if _, err := lock.TryLockContext(ctx, lockPause); err != nil {
		return nil, err
	}
	// It is a word for whoever waits: a full disk, or Windows, which lets nobody write
	// in a file that is locked, keeps nobody from going on.
	me := Holder{Process: os.Getpid(), By: operator(), Since: time.Now().UTC().Truncate(time.Second)}
	if longest > 0 {
		me.Until = me.Since.Add(longest)
	}
	if raw, err := json.Marshal(me); err == nil {
		note(path, raw)
	}
	return lock, nil
}

func letGo(lock *flock.Flock) error {
	note(lock.Path(), nil)
	return lock.Unlock()
}

// noteSize is more than who holds a lock takes, with the longest names that Linux and
// macOS have for a person and a machine (32 and 64, 255 and 255 bytes).
const noteSize = 1024

// note writes in place, over all that was there: with a file that is cut and grows again,
// on ext4, a certificate took 8.7 ms for 8.1 (medians of 60 each in turns, three times).
func note(path string, text []byte) {
	if len(text) > noteSize {
		return
	}
	file, err := os.OpenFile(path, os.O_WRONLY, privateFile)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.WriteAt(append(text, bytes.Repeat([]byte(" "), noteSize-len(text))...), 0)
}

// quiet is how long a reader waits for who writes: a signature comes before the writes,
// which take milliseconds, or a second on a disk that is busy.
const quiet = 2 * time.Second

// keepFromWriting has nobody write until release is called, if that can be had soon.
func (f Folder) keepFromWriting() (release func()) {
	// Nobody is told by the number of their process: that of another container may be
	// the same.
	if f.lock != nil && f.lock.Locked() {
		return func() {} // this one writes
	}
	lock := flock.New(f.at(lockFile))
	for end := time.Now().Add(quiet); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if held, err := lock.TryRLock(); held || err != nil {
			break
		}
	}
	return func() { _ = lock.Unlock() }
}

// Quietly reads while nobody writes, if that can be had soon, of the authority as it is
// then: what looks damaged may be that another command is between two writes, or has
// changed what is in force since this one was opened.
func (f Folder) Quietly(read func(Folder) error) error {
	release := f.keepFromWriting()
	defer release()
	current, err := f.Reopen()
	if err != nil {
		return err
	}
	return read(current)
}

// Holder is who holds a lock.
type Holder struct {
	Process int       `json:"process"`
	By      string    `json:"by"` // as in the log
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"` // at the latest
}

// heldBy reads who holds a lock; zero, where it is not known.
func heldBy(path string) Holder {
	raw, err := os.ReadFile(path)
	var h Holder
	if err != nil || json.Unmarshal(raw, &h) != nil {
		return Holder{}
	}
	return h
}

// String is who it is, in words; empty, where it is not known.
func (h Holder) String() string {
	if h.Process == 0 {
		return ""
	}
	text := fmt.Sprintf("process %d of %q, since %s", h.Process, h.By, h.Since.UTC().Format(time.TimeOnly))
	if !h.Until.IsZero() {
		text += ", until " + h.Until.UTC().Format(time.TimeOnly) + " at the latest"
	}
	return text + " UTC"
}

func (h Holder) inBrackets() string {
	if text := h.String(); text != "" {
		return " (" + text + ")"
	}
	return ""
}
