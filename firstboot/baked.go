// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// BakedImage is what status tells of the image that the instance was launched
// from: the head of the manifest that the bake left in it.
type BakedImage struct {
	// ID is the same for images of the same packages and files.
	ID     string `json:"id"`
	VPNAMI struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
	} `json:"vpnami"`
	Source struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		// Image is the source AMI where there was one.
		Image string `json:"image,omitempty"`
	} `json:"source"`
}

func readBaked(path string) (BakedImage, error) {
	var b BakedImage
	data, err := os.ReadFile(path)
	if err != nil {
		return BakedImage{}, fmt.Errorf("reading what the image is made of: %w", err)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return BakedImage{}, fmt.Errorf("reading what the image is made of from %q: %w", path, err)
	}
	return b, nil
}
