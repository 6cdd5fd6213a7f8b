// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"golang.org/x/sys/unix"
)

// stepCheckHost refuses, before anything is made, what this host cannot do.
type stepCheckHost struct{ *bake }

var _ multistep.Step = (*stepCheckHost)(nil)

func (s *stepCheckHost) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, "Looking at the host...", func(ctx context.Context) error {
		if err := refuseExisting(s.config.OutputDirectory, s.config.PackerForce); err != nil {
			return err
		}
		h, err := thisHost(s.config.OutputDirectory)
		if err != nil {
			return err
		}
		if err := h.check(s.config); err != nil {
			return err
		}
		apt, err := readAptHost(ctx)
		if err != nil {
			return err
		}
		s.settings = aptSettings(apt)
		if s.sources, err = sourcesList(s.config, apt); err != nil {
			return err
		}
		if s.config.Backports && len(s.sources) == 0 {
			return fmt.Errorf("looking for the backports of %s: the host's apt has no archive of it; name one by the option mirror", s.config.Distribution)
		}
		for _, line := range s.sources {
			s.say(line)
		}
		return nil
	})
}

func (s *stepCheckHost) Cleanup(multistep.StateBag) {}

func refuseExisting(dir string, force bool) error {
	switch _, err := os.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist), err == nil && force:
		return nil
	case err != nil:
		return fmt.Errorf("looking for output_directory: %w", err)
	default:
		return fmt.Errorf("looking for output_directory: %q exists; remove it, choose another, or call packer build -force to replace it", dir)
	}
}

// stepMakeWorkspace makes the folder that everything is made in.
type stepMakeWorkspace struct {
	*bake
	lock *os.File
}

var _ multistep.Step = (*stepMakeWorkspace)(nil)

func (s *stepMakeWorkspace) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, "Making a work folder...", func(context.Context) error {
		// Absolute, because the programs run elsewhere.
		output, err := filepath.Abs(s.config.OutputDirectory)
		if err != nil {
			return fmt.Errorf("making a work folder: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil { //nolint:gosec // an ordinary folder of artifacts
			return fmt.Errorf("making the folder of output_directory: %w", err)
		}
		prefix := "." + filepath.Base(output) + ".partial-"
		if err := sweep(filepath.Dir(output), prefix, s.say); err != nil {
			return err
		}
		if s.work, err = os.MkdirTemp(filepath.Dir(output), prefix); err != nil {
			return fmt.Errorf("making a work folder: %w", err)
		}
		// apt's own user passes through it; nobody lists it.
		if err := os.Chmod(s.work, 0o711); err != nil { //nolint:gosec // see above
			return fmt.Errorf("making a work folder: %w", err)
		}
		if s.lock, err = lockFolder(s.work); err != nil {
			return err
		}
		return errors.Join(
			os.Mkdir(s.out(), 0o755), //nolint:gosec // what it becomes is an ordinary folder of artifacts
			os.Mkdir(s.scratch(), 0o700),
		)
	})
}

// Cleanup removes all that was made and not published.
func (s *stepMakeWorkspace) Cleanup(multistep.StateBag) {
	if s.work == "" {
		return
	}
	if err := os.RemoveAll(s.work); err != nil {
		s.ui.Error(fmt.Sprintf("removing the work folder: %v; remove %q by hand", err, s.work))
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// lockFolder marks a folder as in use for as long as this process lives.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("locking %q: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %q: %w", dir, err)
	}
	return f, nil
}

// sweep removes what bakes left that were killed before they could clean up:
// their work folders, which nobody locks any more.
func sweep(parent, prefix string, say func(string)) error {
	left, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for what an earlier bake left: %w", err)
	}
	for _, dir := range left {
		lock, err := lockFolder(dir)
		if err != nil {
			continue // another bake is at work in it
		}
		say("Removing what a bake left that was killed: " + dir)
		err = os.RemoveAll(dir)
		_ = lock.Close()
		if err != nil {
			return fmt.Errorf("removing what an earlier bake left: %w", err)
		}
	}
	return nil
}

// stepOpenSandbox makes the namespaces that packages and provisioners run in.
type stepOpenSandbox struct{ *bake }

var _ multistep.Step = (*stepOpenSandbox)(nil)

func (s *stepOpenSandbox) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step(ctx, state, "Making namespaces for the bake...", func(ctx context.Context) error {
		var err error
		s.sandbox, err = openSandbox(ctx)
		return err
	})
}

// Cleanup ends all that still runs, before the work folder is removed.
func (s *stepOpenSandbox) Cleanup(multistep.StateBag) {
	if s.sandbox != nil {
		s.sandbox.Close()
	}
}
