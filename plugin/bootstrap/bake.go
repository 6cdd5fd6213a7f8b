// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// bake is one run of the builder: what the steps hand on to each other.
type bake struct {
	config *Config
	ui     packersdk.Ui
	hook   packersdk.Hook
	began  time.Time

	// sources are the lines of sources.list, settings those of apt.conf, both
	// from stepCheckHost.
	sources  []string
	settings []byte
	// archives are those that the packages came from, from stepInstallPackages.
	archives []archive
	// work is the folder that everything is made in, beside the folder of the
	// artifact and on the same disk, from stepMakeWorkspace.
	work string
	// sandbox is open from stepOpenSandbox to stepWriteImage, and nil otherwise.
	sandbox *sandbox
	disk    disk
	// laid are the base files, from stepLayBase.
	laid []laid
	// files are what was written, from stepWriteImage.
	files []file
	// artifact is there when all is done.
	artifact *artifact
}

// say tells of what goes on within a step.
func (b *bake) say(line string) { b.ui.Say("    " + line) }

// epoch is the time that the image is of.
func (b *bake) epoch() time.Time { return epochOf(b.archives) }

// root is the root file system while it is made.
func (b *bake) root() string { return filepath.Join(b.work, "root") }

// out is where the artifact is made; it becomes output_directory by a rename.
func (b *bake) out() string { return filepath.Join(b.work, "out") }

// scratch is for temporary files of the programs that are run.
func (b *bake) scratch() string { return filepath.Join(b.work, "tmp") }

// advised is [advised] with the room that is left now, before all is removed.
func (b *bake) advised(err error, said string) error {
	if b.work == "" {
		return err // nothing was begun
	}
	free, statErr := freeRoom(b.work)
	if statErr != nil {
		return errors.Join(err, statErr)
	}
	return advised(err, said, free, b.config.OutputDirectory)
}

// step runs one step, says what it does and how long it took, and stops the bake
// when it fails.
func (b *bake) step(ctx context.Context, state multistep.StateBag, say string, do func(context.Context) error) multistep.StepAction {
	b.ui.Say(say)
	began := time.Now()
	err := do(ctx)
	switch {
	case ctx.Err() != nil:
		b.ui.Error(say + " Interrupted.")
		return multistep.ActionHalt
	case err != nil:
		state.Put("error", b.advised(err, "")) // Packer prints it
		return multistep.ActionHalt
	}
	b.ui.Say(fmt.Sprintf("%s Done in %.1f s.", say, time.Since(began).Seconds()))
	return multistep.ActionContinue
}
