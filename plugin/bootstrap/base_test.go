// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// The error-cleanup-provisioner looks at what a failed provisioner left. When a
// later step fails, the root is sealed, and there is no sandbox to look from.
func TestErrorCleanupProvisioner(t *testing.T) {
	for _, tt := range []struct {
		name        string
		flags       []string
		sealed, ran bool
	}{
		{name: "all is well"},
		{name: "a provisioner failed", flags: []string{multistep.StateHalted}, ran: true},
		{name: "interrupted", flags: []string{multistep.StateHalted, multistep.StateCancelled}},
		{name: "writing the image failed", flags: []string{multistep.StateHalted}, sealed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan struct{})
			close(ended)
			_, lifeline := io.Pipe()
			hook := new(packersdk.MockHook)
			k := &bake{
				config: new(Config), ui: packersdk.TestUi(t), hook: hook,
				work:    filepath.Join(t.TempDir(), "gone"),
				sandbox: &sandbox{lifeline: lifeline, ended: ended},
			}
			state := new(multistep.BasicStateBag)
			if tt.sealed {
				if action := (&stepWriteImage{k}).Run(context.Background(), state); action != multistep.ActionHalt {
					t.Fatalf("wrote an image of a folder that is not there: %v", action)
				}
			}
			for _, flag := range tt.flags {
				state.Put(flag, true)
			}
			(&stepProvision{k}).Cleanup(state)
			if hook.RunCalled != tt.ran || (tt.ran && hook.RunName != packersdk.HookCleanupProvision) {
				t.Errorf("ran: %t %q; want %t", hook.RunCalled, hook.RunName, tt.ran)
			}
			// Nothing is left to close; it must not be tried.
			(&stepOpenSandbox{k}).Cleanup(state)
		})
	}
}
