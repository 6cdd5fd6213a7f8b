// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// need returns the path of a real program, and skips the test where it is
// missing, or fails where nothing may be skipped.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("VPNAMI_REQUIRE") == "1" {
		t.Fatalf("%s is not on PATH; scripts/tool %s builds it", program, program)
	}
	t.Skipf("%s is not on PATH", program)
	return ""
}

var builds sync.Map // ldflags → func() (string, error)

// built builds this plugin once for each set of linker flags.
func built(t *testing.T, ldflags string) string {
	t.Helper()
	build, _ := builds.LoadOrStore(ldflags, sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "vpnami-plugin-")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "packer-plugin-vpnami")
		out, err := exec.Command("go", "build", "-ldflags=-s -w "+ldflags, "-o", path, ".").CombinedOutput()
		if err != nil {
			return "", &buildError{err, out}
		}
		return path, nil
	}))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

type buildError struct {
	err error
	out []byte
}

func (e *buildError) Error() string {
	return "building the plugin: " + e.err.Error() + "\n" + string(e.out)
}

func TestMain(m *testing.M) {
	code := m.Run()
	builds.Range(func(_, build any) bool {
		if path, err := build.(func() (string, error))(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		return true
	})
	os.Exit(code)
}

// packerEnv is the environment of a Packer that knows only our plugin, installed
// in dir.
func packerEnv(t *testing.T, dir, ldflags string) []string {
	t.Helper()
	packer := need(t, "packer")
	env := append(os.Environ(), "PACKER_PLUGIN_PATH="+filepath.Join(dir, "plugins"), "PACKER_CONFIG_DIR="+dir, "PACKER_CACHE_DIR="+filepath.Join(dir, "cache"), "CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1")
	cmd := exec.Command(packer, "plugins", "install", "--path", built(t, ldflags), "github.com/vpnami/vpnami")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("installing the plugin: %v\n%s", err, out)
	}
	return env
}

// What a user types into a template and reads from Packer. The scripts run the
// real packer.
func TestTranscripts(t *testing.T) {
	dir := t.TempDir()
	env := packerEnv(t, dir, "")
	images, err := filepath.Abs("../images")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		UpdateScripts: os.Getenv("VPNAMI_UPDATE") == "1",
		Dir:           "testdata/script",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"PACKER_PLUGIN_PATH", "PACKER_CONFIG_DIR", "PACKER_CACHE_DIR", "CHECKPOINT_DISABLE", "PACKER_NO_COLOR"} {
				e.Setenv(name, valueOf(env, name))
			}
			e.Setenv("IMAGES", images)
			return nil
		},
	})
}

func valueOf(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// "packer init" takes releases only, from where they are published or installed
// already: a release of ours satisfies the template without a network.
func TestInitOfRelease(t *testing.T) {
	packer := need(t, "packer")
	env := packerEnv(t, t.TempDir(), "-X main.prerelease=")
	for _, args := range [][]string{{"init", "../images/vpnami.pkr.hcl"}, {"validate", "../images/vpnami.pkr.hcl"}, {"fmt", "-check", "-diff", "../images"}} {
		cmd := exec.Command(packer, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("packer %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestDescribe(t *testing.T) {
	out, err := exec.Command(built(t, ""), "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version         string   `json:"version"`
		Builders        []string `json:"builders"`
		Provisioners    []string `json:"provisioners"`
		ProtocolVersion string   `json:"protocol_version"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "0.1.0-dev" || len(got.Builders) != 1 || got.Builders[0] != "bootstrap" ||
		len(got.Provisioners) != 1 || got.Provisioners[0] != "-packer-default-plugin-name-" || got.ProtocolVersion != "v2" {
		t.Errorf("got %s", out)
	}
}

// HashiCorp's own check of a plugin: it must be called with a bare name.
func TestPluginCheck(t *testing.T) {
	sdc := need(t, "packer-sdc")
	path := built(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sdc, "plugin-check", filepath.Base(path))
	cmd.Dir = filepath.Dir(path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
