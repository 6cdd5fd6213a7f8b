// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package moto is what moto, the stand-in for AWS, is started with: what it lacks,
// and the images that an account finds.
package moto

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// supplement is what moto lacks, as a module that Python loads by its name.
//
//go:embed sitecustomize.py
var supplement []byte

// rights is the part of it that has to do with IAM.
//
//go:embed rights.py
var rights []byte

// images are those that EC2 lists from the start: Canonical's, and a stranger's that
// bears Canonical's name.
//
//go:embed canonical.json
var images []byte

// Supplement lays it all down in a folder, which it makes, and returns what moto_server
// needs in its environment.
func Supplement(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("laying down moto's supplement: %w", err)
	}
	for name, data := range map[string][]byte{"sitecustomize.py": supplement, "rights.py": rights, "canonical.json": images} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("laying down moto's supplement: %w", err)
		}
	}
	return []string{"PYTHONPATH=" + dir, "MOTO_AMIS_PATH=" + filepath.Join(dir, "canonical.json")}, nil
}

// EnforceIAM makes the moto at that address judge every call from now on by the
// policies of whoever makes it. Until then everybody may do everything. Actions and
// resources count; of conditions, ec2:CreateAction alone.
func EnforceIAM(ctx context.Context, client *http.Client, endpoint string) error {
	// "After no more calls": moto's own interface.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/moto-api/reset-auth", strings.NewReader("0"))
	if err != nil {
		return fmt.Errorf("enforcing IAM: %w", err)
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("enforcing IAM: %w", err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		return fmt.Errorf("enforcing IAM: moto answers with status %d: %s", answer.StatusCode, text)
	}
	return nil
}
