// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package scripts

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// workflow is one of GitHub's, as far as it is read here.
type workflow struct {
	Env  map[string]string
	Jobs map[string]struct {
		Env   map[string]string
		Steps []task
	}
}

type task struct {
	ID, Uses, Run string
	With, Env     map[string]string
}

// TestCredentialsReachOneStep: credentials of AWS are asked for when all else is done,
// for the next step, which builds nothing, and are in no other's environment: neither in
// that of a program that is built from somewhere nor in an action of other people's.
func TestCredentialsReachOneStep(t *testing.T) {
	const asks, given = "aws-actions/configure-aws-credentials@", "steps.aws.outputs."
	// What each of them needs is made in a step before.
	uses := map[string]string{
		"make ami ":                 "make build/plugins/.amazon\n",
		"make verify-aws ":          "make verify-aws-ready\n",
		"bin/vpnami-images promote": "make bin/vpnami-images\n",
	}
	files, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d workflows", err, len(files))
	}
	seen := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		var w workflow
		if err == nil {
			err = yaml.Unmarshal(data, &w)
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, job := range w.Jobs {
			at := slices.IndexFunc(job.Steps, func(s task) bool { return strings.HasPrefix(s.Uses, asks) })
			if at < 0 {
				continue
			}
			seen++
			asking := job.Steps[at]
			if asking.ID != "aws" || asking.With["output-env-credentials"] != "false" || asking.With["output-credentials"] != "true" {
				t.Errorf("%s, %s: what is asked for is in the environment of every step after it", file, name)
			}
			for _, env := range []map[string]string{w.Env, job.Env} {
				for key, value := range env {
					if strings.Contains(value, given) {
						t.Errorf("%s, %s: %s is there for every step", file, name, key)
					}
				}
			}
			var before strings.Builder
			for n, s := range job.Steps {
				gets := slices.ContainsFunc(slices.Collect(maps.Values(s.Env)), func(v string) bool { return strings.Contains(v, given) })
				if gets != (n == at+1) || gets && s.Uses != "" {
					t.Errorf("%s, %s: step %d has the credentials: %v; want those of the next after they are asked for, a program of ours", file, name, n, gets)
				}
				if n < at {
					before.WriteString(s.Run + "\n")
				}
			}
			ready := ""
			for does, needs := range uses {
				if at+1 < len(job.Steps) && strings.Contains(job.Steps[at+1].Run, does) {
					ready = needs
				}
			}
			if ready == "" || !strings.Contains(before.String(), ready) {
				t.Errorf("%s, %s: what is run with credentials is to be built before, by %q", file, name, ready)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d jobs have credentials, want 3", seen)
	}
}
