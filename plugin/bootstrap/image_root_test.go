// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// written is a bake whose root file system is complete and small, for what
// comes after the packages.
func written(t *testing.T, options map[string]any) *bake {
	t.Helper()
	needRoot(t)
	options["output_directory"] = filepath.Join(t.TempDir(), "deep", "image")
	options["disk_size"], options["architecture"] = "1G", "amd64"
	c, err := prepare(t, options)
	if err != nil {
		t.Fatal(err)
	}
	k := &bake{
		config: c, ui: packersdk.TestUi(t), disk: newDisk(c),
		archives: []archive{{Name: "mirror", Date: time.Date(2025, 11, 15, 9, 30, 12, 0, time.UTC)}},
	}
	make := &stepMakeWorkspace{bake: k}
	if action := make.Run(t.Context(), new(multistep.BasicStateBag)); action != multistep.ActionContinue {
		t.Fatal("no workspace")
	}
	t.Cleanup(func() { make.Cleanup(nil) })
	if k.sandbox, err = openSandbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(k.root(), "boot", "vmlinuz-6.1-x"), "kernel")
	write(t, filepath.Join(k.root(), "boot", "initrd.img-6.1-x"), "initrd")
	write(t, filepath.Join(k.root(), k.disk.firmware.loader), "loader")
	write(t, filepath.Join(k.root(), imageSBOM), "{}\n")
	for _, dir := range []string{"run", "tmp"} {
		if err := os.MkdirAll(filepath.Join(k.root(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// What is written after the packages: each format, hashed, with one name at the end.
func TestWriteAndPublishRoot(t *testing.T) {
	k := written(t, map[string]any{"disk_formats": []string{"qcow2"}})
	state := new(multistep.BasicStateBag)
	for _, step := range []multistep.Step{&stepWriteImage{k}, &stepPublish{k}} {
		if action := step.Run(t.Context(), state); action != multistep.ActionContinue {
			t.Fatal(state.Get("error"))
		}
	}
	var names []string
	for _, f := range k.files {
		names = append(names, f.Name)
		if len(f.SHA256) != 64 || f.Bytes == 0 {
			t.Errorf("of %s nothing is known: %+v", f.Name, f)
		}
	}
	if got := strings.Join(names, " "); got != "root.tar disk.qcow2 sbom.cdx.json" {
		t.Errorf("wrote %s", got)
	}
	there, err := filepath.Glob(filepath.Join(k.config.OutputDirectory, "*"))
	if err != nil || len(there) != 4 {
		t.Errorf("the artifact is %v, %v", there, err)
	}
}

// Ctrl-C while the image is written: what runs is ended, and nothing is left.
func TestInterruptedWriteRoot(t *testing.T) {
	for _, at := range []string{tarName, diskName} {
		t.Run(at, func(t *testing.T) {
			k := written(t, map[string]any{})
			f, err := os.Create(filepath.Join(k.root(), "large"))
			if err != nil {
				t.Fatal(err)
			}
			// Enough that it is not over before it is interrupted.
			if _, err := io.CopyN(f, rand.Reader, 300<<20); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			ctx, interrupt := context.WithCancel(t.Context())
			go func() {
				for {
					if st, err := os.Stat(filepath.Join(k.out(), at)); err == nil && st.Size() > 0 {
						interrupt()
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
			state := new(multistep.BasicStateBag)
			began := time.Now()
			if action := (&stepWriteImage{k}).Run(ctx, state); action != multistep.ActionHalt {
				t.Fatal("it went through")
			}
			if took := time.Since(began); took > 2*killedDelay {
				t.Errorf("it took %s to stop", took)
			}
			(&stepMakeWorkspace{bake: k}).Cleanup(state)
			left, err := os.ReadDir(filepath.Dir(k.config.OutputDirectory))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
