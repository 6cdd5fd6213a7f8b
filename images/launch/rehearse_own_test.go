// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
)

// TestPerClientRehearsed launches the article's network with nat = "per-client", and a
// second gateway beside the first as for a replacement, and boots both from the image:
// the bastion sees people with addresses that Terraform had assigned, and after the
// switch with the second gateway's (make rehearse-per-client).
func TestPerClientRehearsed(t *testing.T) {
	r := openLab(t)
	stage := func(name string, do func(*testing.T)) {
		t.Helper()
		start := time.Now()
		if !t.Run(name, do) {
			t.FailNow()
		}
		t.Logf("%-52s %5.1f s", name, time.Since(start).Seconds())
	}
	r.vars["ami"], r.vars["nat"] = r.VPC().Image, "per-client"
	r.vars["gateways"] = `{a={private_address="10.0.1.2",addresses=["10.0.1.64/27"]}}`
	sees := func(t *testing.T, want string) {
		t.Helper()
		client, err := r.Host("client1")
		fatal(t, err)
		s, err := client.Connect(within(t, 30*time.Second), filepath.Join(r.Dir(), "ann.ovpn"))
		fatal(t, err)
		defer func() { fatal(t, s.Close()) }()
		// Its rules stand before its sshd does.
		_, err = client.WaitPort(within(t, 30*time.Second), stepPrivate.String()+":22", lab.PortOpen)
		fatal(t, err)
		seen, err := client.SSH(within(t, 30*time.Second), r.login, stepPrivate, "echo ${SSH_CONNECTION%% *}")
		fatal(t, err)
		if seen = strings.TrimSpace(seen); seen != want {
			t.Errorf("the bastion sees ann with %s, want %s", seen, want)
		}
	}
	isReady := func(t *testing.T, name string) *lab.Instance {
		t.Helper()
		i, err := r.Instance(within(t, 30*time.Second), name)
		fatal(t, err)
		_, err = i.WaitReady(within(t, 2*time.Minute))
		fatal(t, err)
		return i
	}
	stage("the plan has what it may have", func(t *testing.T) {
		r.Init(t, example)
		file := filepath.Join(t.TempDir(), "plan")
		r.Must(t, example, append([]string{"plan", "-no-color", "-input=false", "-out=" + file}, launchtest.Variables(r.vars)...)...)
		findings, err := Lint([]byte(r.Must(t, example, "show", "-json", file)), 1194)
		if err != nil || len(findings) > 0 {
			t.Fatalf("%v\n%s", err, strings.Join(findings, "\n"))
		}
	})
	stage("terraform apply", func(t *testing.T) { r.firstApply(t) })
	stage("the second plan is empty", func(t *testing.T) { r.Empty(t, example, r.vars) })
	stage("ann has a fixed address", func(t *testing.T) {
		for _, args := range [][]string{
			{"init", "office", "--server-name", "vpn.example.com"},
			{"issue", "ann", "--ip", "10.0.255.9", "--out", r.Dir(), "--remote", r.remote},
			{"publish", "--secret", "vpn/office"},
		} {
			_, err := r.runPKI(t, args...)
			fatal(t, err)
		}
	})
	stage("the bastion sees her with her own", func(t *testing.T) {
		isReady(t, "vpn")
		isReady(t, "step")
		sees(t, "10.0.1.73")
	})
	stage("the plan is empty after the first boot", func(t *testing.T) { r.Empty(t, example, r.vars) })
	stage("a second gateway beside it, with its own addresses", func(t *testing.T) {
		r.vars["gateways"] = `{a={private_address="10.0.1.2",addresses=["10.0.1.64/27"]},b={addresses=["10.0.1.96/27"]}}`
		r.Apply(t, example, r.vars)
		isReady(t, "vpn-b")
		sees(t, "10.0.1.73")
	})
	stage("which takes over", func(t *testing.T) {
		r.vars["active"] = "b"
		r.Apply(t, example, r.vars)
		sees(t, "10.0.1.105")
		r.Empty(t, example, r.vars)
	})
	stage("terraform destroy leaves nothing", r.destroy)
}
