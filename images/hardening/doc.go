// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package hardening judges an image by others' measure: Lynis, systemd's own
// exposure, and OpenSCAP. It reads what these programs report and compares it with
// reasons.yaml, which has every exception with its reason; an exception that is not
// needed any more is an error, and so is a measure that looked at nothing.
//
// It runs on the machine that bakes. Its tests with the tag "measure" boot the image
// and the stock one in the lab and measure both (make check-image).
package hardening

//go:generate go run ./readme ../../plugin/provisioner/release.go ../README.md
