// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package launchtest runs Terraform on a copy of the module in images/launch, for
// tests.
package launchtest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runWithin: the longest is an apply, half a minute against moto and some minutes on
// AWS, whose load balancers and volumes take their time.
const runWithin = 15 * time.Minute

// Command makes a program that may run elsewhere, such as in a host of the lab.
type Command func(ctx context.Context, name string, args ...string) *exec.Cmd

// Module is a copy of the module, so that Terraform leaves nothing in the sources,
// and how Terraform is run in it.
type Module struct {
	root    string // where the copy is
	env     []string
	command Command
	plugins string // mirror of providers, or none
}

// Need fails without Terraform where VPNAMI_TERRAFORM says that it is required, and
// says in the open that it tests nothing where it is not.
func Need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		if os.Getenv("VPNAMI_TERRAFORM") == "required" {
			t.Fatalf("terraform is required: %v", err)
		}
		t.Skip("NOT TESTED: images/launch, because terraform is not on this machine")
	}
}

// Copy copies the module from its folder to another, which may hold an earlier copy
// with its state. The environment is added to that of this process; the mirror of
// providers, if there is one, is VPNAMI_TERRAFORM_PLUGINS.
func Copy(t *testing.T, from, to string, env []string, command Command) Module {
	t.Helper()
	m := Module{root: to, env: env, command: command, plugins: os.Getenv("VPNAMI_TERRAFORM_PLUGINS")}
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".tf") && !strings.HasSuffix(path, ".tftest.hcl") {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // of this repository
		if err != nil {
			return err
		}
		part, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		copied := filepath.Join(m.root, part)
		if err := os.MkdirAll(filepath.Dir(copied), 0o750); err != nil {
			return err
		}
		return os.WriteFile(copied, data, 0o600) //nolint:gosec // below the folder of the test
	})
	if err != nil {
		t.Fatalf("copying the module: %v", err)
	}
	return m
}

// With is the same module with more in the environment, which comes last.
func (m Module) With(env ...string) Module {
	m.env = append(m.env[:len(m.env):len(m.env)], env...)
	return m
}

// Run runs Terraform in a folder of the module and returns what it printed and its
// exit code.
func (m Module) Run(t *testing.T, folder string, args ...string) (string, int) {
	t.Helper()
	// Also in a clean-up, when the test's own context is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), runWithin)
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

// Must is [Module.Run] of what has to succeed.
func (m Module) Must(t *testing.T, folder string, args ...string) string {
	t.Helper()
	out, code := m.Run(t, folder, args...)
	if code != 0 {
		t.Fatalf("terraform %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// Init makes a folder of the module ready.
func (m Module) Init(t *testing.T, folder string) {
	t.Helper()
	args := []string{"init", "-no-color", "-input=false"}
	if m.plugins != "" {
		args = append(args, "-plugin-dir="+m.plugins)
	}
	m.Must(t, folder, args...)
}

// Apply makes what the variables ask for, and returns what Terraform printed.
func (m Module) Apply(t *testing.T, folder string, vars map[string]string) string {
	t.Helper()
	return m.Must(t, folder, append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, Variables(vars)...)...)
}

// Destroy ends all of it.
func (m Module) Destroy(t *testing.T, folder string, vars map[string]string) {
	t.Helper()
	m.Must(t, folder, append([]string{"destroy", "-no-color", "-input=false", "-auto-approve"}, Variables(vars)...)...)
}

// Empty asserts that a plan has nothing to change.
func (m Module) Empty(t *testing.T, folder string, vars map[string]string) {
	t.Helper()
	out, code := m.Run(t, folder, append([]string{"plan", "-no-color", "-input=false", "-detailed-exitcode"}, Variables(vars)...)...)
	if code != 0 {
		t.Fatalf("the plan is not empty (exit code %d):\n%s", code, out)
	}
}

// Variables are the arguments that set variables.
func Variables(values map[string]string) []string {
	var args []string
	for name, value := range values {
		args = append(args, fmt.Sprintf("-var=%s=%s", name, value))
	}
	return args
}
