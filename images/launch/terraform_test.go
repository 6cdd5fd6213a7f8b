// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab || rehearse

package launch

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// module is a copy of the module, so that Terraform leaves nothing in the sources,
// and how Terraform is run in it.
type module struct {
	root string // where the copy is
	env  []string
	// command makes a program that may run elsewhere, such as in a host of the lab.
	command func(ctx context.Context, name string, args ...string) *exec.Cmd
	plugins string // mirror of providers, or none
}

// needTerraform fails without Terraform where everything is required, and says
// in the open that it tests nothing where it is not.
func needTerraform(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		if os.Getenv("VPNAMI_TERRAFORM") == "required" {
			t.Fatalf("terraform is required: %v", err)
		}
		t.Skip("NOT TESTED: images/launch, because terraform is not on this machine")
	}
}

func copyModule(t *testing.T, env []string, command func(context.Context, string, ...string) *exec.Cmd) module {
	t.Helper()
	m := module{root: t.TempDir(), env: env, command: command, plugins: os.Getenv("VPNAMI_TERRAFORM_PLUGINS")}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".tf") && !strings.HasSuffix(path, ".tftest.hcl") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(m.root, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o600)
	})
	if err != nil {
		t.Fatalf("copying the module: %v", err)
	}
	return m
}

// run runs Terraform in a folder of the module and returns what it printed and
// its exit code.
func (m module) run(t *testing.T, folder string, args ...string) (string, int) {
	t.Helper()
	// The longest is an apply, half a minute against moto.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := m.command(ctx, "terraform", append([]string{"-chdir=" + filepath.Join(m.root, folder)}, args...)...)
	cmd.Env = append(os.Environ(), m.env...)
	cmd.Env = append(cmd.Env, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1")
	if m.plugins != "" {
		cmd.Env = append(cmd.Env, "TF_CLI_CONFIG_FILE="+os.DevNull)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("running terraform %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// must is run, of what has to succeed.
func (m module) must(t *testing.T, folder string, args ...string) string {
	t.Helper()
	out, code := m.run(t, folder, args...)
	if code != 0 {
		t.Fatalf("terraform %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (m module) init(t *testing.T, folder string) {
	t.Helper()
	args := []string{"init", "-no-color", "-input=false"}
	if m.plugins != "" {
		args = append(args, "-plugin-dir="+m.plugins)
	}
	m.must(t, folder, args...)
}
