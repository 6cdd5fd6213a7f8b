// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import "testing"

func TestLabOfNamespace(t *testing.T) {
	for ns, want := range map[string]string{
		namespaceName("demo", "inet"):   "demo",
		namespaceName("demo", "step-2"): "demo",
		"vpnami-demo":                   "",
		"other-demo-inet":               "",
		"vpnami--inet":                  "",
	} {
		if got := labOfNamespace(ns); got != want {
			t.Errorf("namespace %q is of lab %q, want %q", ns, got, want)
		}
	}
}
