// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package launch is the tests of the Terraform module in this folder, which runs
// on the engineer's own machine or in CI: what a plan may contain (lint_test.go),
// and the rehearsal of a whole launch in the lab (make rehearse-aws).
package launch
