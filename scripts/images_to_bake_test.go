// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package scripts tests what no other test runs.
package scripts

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// artifact is one of GitHub's list of them.
type artifact struct {
	Expired bool `json:"expired"`
	Run     run  `json:"workflow_run"`
}

type run struct {
	ID     int    `json:"id"`
	Ours   int    `json:"repository_id"`
	Theirs int    `json:"head_repository_id"`
	Branch string `json:"head_branch"`
}

// gh stands in for GitHub's program, as far as it is called: a list of artifacts by
// name, which jq reads as gh would, and the download of a run's.
const gh = `#!/bin/bash
set -eu
case $1 in
api) name=${2#*name=} && jq -r "$4" "$GITHUB/${name%%&*}" ;;
run) mkdir -p "$7" && cp "$GITHUB/run-$3" "$7/manifest.json" ;;
esac
`

// pending ends as the manifest tells it to.
const pending = "#!/bin/bash\nexit \"$(cat \"$1\")\"\n"

// TestImagesToBake: what patch.yml bakes.
func TestImagesToBake(t *testing.T) {
	ours := func(id int) artifact { return artifact{false, run{id, 1, 1, "main"}} }
	expired := artifact{true, run{7, 1, 1, "main"}}
	fork, branch := artifact{false, run{100, 1, 2, "main"}}, artifact{false, run{100, 1, 1, "try"}}
	for _, c := range []struct {
		name, images string
		artifacts    map[string][]artifact
		runs         map[string]string // exit codes of pending-updates
		want         string
		code         int
	}{
		{name: "nothing was ever promoted", want: "[]"},
		{name: "what is named counts without one", images: "26.04-arm64", want: `[{"ubuntu":"26.04","architecture":"arm64"}]`},
		{name: "each kind for itself", images: "24.04-amd64",
			artifacts: map[string][]artifact{"24.04-amd64": {ours(1)}, "24.04-arm64": {ours(2)}, "26.04-amd64": {expired}},
			runs:      map[string]string{"1": "0", "2": "3"},
			want:      `[{"ubuntu":"24.04","architecture":"arm64"},{"ubuntu":"26.04","architecture":"amd64"}]`},
		{name: "the newest counts", artifacts: map[string][]artifact{"24.04-amd64": {ours(2), ours(1)}}, runs: map[string]string{"2": "0", "1": "3"}, want: "[]"},
		{name: "a stranger's artifact is not believed", artifacts: map[string][]artifact{"24.04-amd64": {fork, branch, ours(1)}},
			runs: map[string]string{"100": "0", "1": "3"}, want: `[{"ubuntu":"24.04","architecture":"amd64"}]`},
		{name: "a stranger's artifact is no promotion", artifacts: map[string][]artifact{"26.04-amd64": {fork}}, want: "[]"},
		{name: "an artifact that cannot be had", artifacts: map[string][]artifact{"24.04-amd64": {ours(9)}}, want: `[{"ubuntu":"24.04","architecture":"amd64"}]`},
		{name: "an archive that does not answer", artifacts: map[string][]artifact{"24.04-amd64": {ours(1)}}, runs: map[string]string{"1": "100"}, code: 100},
		{name: "no such kind", images: "22.04-amd64", code: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			write := func(name, text string) {
				t.Helper()
				path := filepath.Join(folder, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			script, err := os.ReadFile("images-to-bake")
			if err != nil {
				t.Fatal(err)
			}
			write("images-to-bake", string(script))
			write("pending-updates", pending)
			write("bin/gh", gh)
			for _, kind := range []string{"24.04-amd64", "24.04-arm64", "26.04-amd64", "26.04-arm64"} {
				list, err := json.Marshal(map[string][]artifact{"artifacts": c.artifacts[kind]})
				if err != nil {
					t.Fatal(err)
				}
				write("github/promoted-"+kind, strings.Replace(string(list), "null", "[]", 1))
			}
			for id, code := range c.runs {
				write("github/run-"+id, code)
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(folder, "images-to-bake"))
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"), "GITHUB="+filepath.Join(folder, "github"),
				"GITHUB_REPOSITORY=vpnami/packer-plugin-vpnami", "GITHUB_REF_NAME=main", "IMAGES="+c.images)
			out, err := cmd.Output()
			var failed *exec.ExitError
			if errors.As(err, &failed) != (c.code != 0) || failed != nil && failed.ExitCode() != c.code {
				t.Fatalf("it ends with %v, want exit code %d\n%s", err, c.code, stderrOf(failed))
			}
			if got := strings.TrimSpace(string(out)); got != c.want {
				t.Errorf("it says %s, want %s", got, c.want)
			}
		})
	}
}

func stderrOf(failed *exec.ExitError) []byte {
	if failed == nil {
		return nil
	}
	return failed.Stderr
}
