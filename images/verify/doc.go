// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package verify is the boot verification of a baked image: it launches a
// gateway and a bastion from it and asserts, from outside and over the tunnel,
// what a company relies on. It holds tests only, and runs on the machine that
// baked the image (make verify), against the lab of images/lab. What is seen from
// outside alone (outside_test.go) has two targets: that lab, and an AWS account
// (make verify-aws).
//
// Where a test says that something is impossible, it also shows that it would
// have seen it: it takes the one safeguard away and sees the same probe get
// through.
package verify
