// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package hardening

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed reasons.yaml
var reasonsFile []byte

// Reasons are the bounds, and why something is left as it is: by the name that the
// measuring program has for it.
type Reasons struct {
	OpenSCAP struct {
		// Profile is the one that the image is measured by.
		Profile string `yaml:"profile"`
		// Least is the part of the applicable rules that pass, in percent.
		Least float64 `yaml:"least"`
		// Applicable is how many rules must apply: a run in which none did would
		// otherwise look like one in which none failed.
		Applicable int `yaml:"applicable"`
		// Exceptions are the rules that fail.
		Exceptions map[string]string `yaml:"exceptions"`
		// Elsewhere are the rules that fail and that no image decides: they are
		// for the launch, or for its owner.
		Elsewhere map[string]string `yaml:"elsewhere"`
		// Kernel are the rules that ask for what a container has from its host;
		// they are judged on a whole machine only.
		Kernel []string `yaml:"kernel"`
	} `yaml:"openscap"`
	Lynis struct {
		// Least is the hardening index, of 100.
		Least int `yaml:"least"`
		// Tests is how many tests must have been made.
		Tests int `yaml:"tests"`
		// Left are the suggestions and warnings that stay, by the test's name.
		Left map[string]string `yaml:"left"`
		// Kernel is as with OpenSCAP; LeastInContainer the index without them.
		Kernel           []string `yaml:"kernel"`
		LeastInContainer int      `yaml:"least_in_container"`
	} `yaml:"lynis"`
	Exposure struct {
		// Most is the exposure of an enabled service, of 10, by systemd-analyze.
		Most float64 `yaml:"most"`
		// Units have bounds of their own.
		Units map[string]float64 `yaml:"units"`
		// Exceptions are services that are exposed more than Most, on one of the
		// images that are measured.
		Exceptions map[string]string `yaml:"exceptions"`
		// Container and Machine are those of them that only a container has, or
		// only a whole machine.
		Container []string `yaml:"container"`
		Machine   []string `yaml:"machine"`
	} `yaml:"exposure"`
}

// Load returns what reasons.yaml says. The error tells of a reason that is
// missing, or a key that nobody knows.
func Load() (Reasons, error) { return parseReasons(reasonsFile) }

func parseReasons(text []byte) (Reasons, error) {
	var r Reasons
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		return Reasons{}, fmt.Errorf("parsing reasons.yaml: %w", err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Reasons{}, errors.New("parsing reasons.yaml: a second document follows the first")
	}
	for _, reasons := range []map[string]string{r.OpenSCAP.Exceptions, r.OpenSCAP.Elsewhere, r.Lynis.Left, r.Exposure.Exceptions} {
		for name, reason := range reasons {
			// "as NAME": the reason of another, which has one.
			_, another := reasons[strings.TrimPrefix(reason, "as ")]
			if len(strings.Fields(reason)) < 4 && !another {
				return Reasons{}, fmt.Errorf("parsing reasons.yaml: %q has no reason, but %q", name, reason)
			}
		}
	}
	for _, name := range slices.Concat(r.Exposure.Container, r.Exposure.Machine) {
		if _, has := r.Exposure.Exceptions[name]; !has {
			return Reasons{}, fmt.Errorf("parsing reasons.yaml: %q is said to be of one engine, and has no reason", name)
		}
	}
	return r, nil
}

// InContainer are the reasons for an image that runs on its host's kernel: what
// that one decides is left out of what is judged.
func (r Reasons) InContainer() Reasons {
	r.Exposure.Exceptions = without(r.Exposure.Exceptions, r.Exposure.Machine)
	r.OpenSCAP.Exceptions = without(r.OpenSCAP.Exceptions, r.OpenSCAP.Kernel)
	r.Lynis.Left = without(r.Lynis.Left, r.Lynis.Kernel)
	r.Lynis.Least = r.Lynis.LeastInContainer
	return r
}

// OnMachine are the reasons for an image that is a machine of its own.
func (r Reasons) OnMachine() Reasons {
	r.Exposure.Exceptions = without(r.Exposure.Exceptions, r.Exposure.Container)
	return r
}

func without(reasons map[string]string, names []string) map[string]string {
	reasons = maps.Clone(reasons)
	for _, name := range names {
		delete(reasons, name)
	}
	return reasons
}

// compare tells what is found without a reason, and which reasons are for what is
// not found any more.
func compare(what string, found []string, reasons map[string]string) []string {
	var wrong []string
	for _, name := range found {
		if _, ok := reasons[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s %s, and reasons.yaml has no reason for it", name, what))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.Contains(found, name) {
			wrong = append(wrong, fmt.Sprintf("%s has a reason in reasons.yaml that is not needed any more: take it out", name))
		}
	}
	return wrong
}
