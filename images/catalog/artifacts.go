// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// made is an AMI that a bake says it has made.
type made struct{ region, id string }

// readArtifacts reads what the template's post-processor "manifest" wrote: the
// AMIs of the last run in that file, one a region.
func readArtifacts(path string) ([]made, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading what the bake made: %w", err)
	}
	all, err := parseArtifacts(data)
	if err != nil {
		return nil, fmt.Errorf("reading what the bake made from %q: %w", path, err)
	}
	return all, nil
}

func parseArtifacts(data []byte) ([]made, error) {
	// The form is Packer's, which may add to it: unknown keys are none of ours.
	var file struct {
		Builds []struct {
			BuilderType string `json:"builder_type"`
			ArtifactID  string `json:"artifact_id"`
			Run         string `json:"packer_run_uuid"`
		} `json:"builds"`
		Last string `json:"last_run_uuid"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	var all []made
	for _, b := range file.Builds {
		if b.BuilderType != "amazon-ebs" || b.Run != file.Last {
			continue
		}
		for one := range strings.SplitSeq(b.ArtifactID, ",") {
			region, id, found := strings.Cut(one, ":")
			if !found || region == "" || !strings.HasPrefix(id, "ami-") {
				return nil, fmt.Errorf("the artifact %q is not REGION:AMI", one)
			}
			all = append(all, made{region, id})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("its last run made no AMI")
	}
	slices.SortFunc(all, func(a, b made) int { return strings.Compare(a.region, b.region) })
	return all, nil
}
