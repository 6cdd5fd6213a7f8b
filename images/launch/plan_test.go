// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package launch

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startMoto starts the stand-in for AWS on a port of its own and returns what
// Terraform needs in its environment to use it.
func startMoto(t *testing.T) []string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	moto := exec.CommandContext(t.Context(), "moto_server", "-H", "127.0.0.1", "-p", port)
	if err := moto.Start(); err != nil {
		t.Fatalf("starting moto (make moto installs it): %v", err)
	}
	t.Cleanup(func() { _ = moto.Process.Kill(); _ = moto.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for moto: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return []string{"AWS_ENDPOINT_URL=http://" + address, "AWS_REGION=ap-northeast-1", "AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true"}
}

// TestModule reads what the module plans, in each of its forms, and has Terraform
// judge it.
func TestModule(t *testing.T) {
	needTerraform(t)
	m := copyModule(t, startMoto(t), exec.CommandContext)
	if out, code := m.run(t, ".", "fmt", "-check", "-diff", "-recursive"); code != 0 {
		t.Errorf("terraform fmt:\n%s", out)
	}
	m.init(t, ".")
	m.must(t, ".", "validate", "-no-color")
	ami := "-var=ami=ami-03cf127a" // one that moto has from the start
	for _, c := range []struct {
		name, folder string
		vars         []string
	}{
		{"one gateway in a new VPC, routed", ".", []string{ami, "-var=nat=routed", "-var=tunnel_network=10.8.0.0/24", `-var=ssh_from=["198.51.100.0/24"]`}},
		{"slots, and keys of one's own", ".", []string{ami, `-var=slots={a="10.0.254.0/24",b="10.0.255.0/24"}`, "-var=egress=nat-gateway",
			"-var=secret_kms_key_arn=arn:aws:kms:ap-northeast-1:123456789012:key/11111111-2222-3333-4444-555555555555"}},
		{"office-lan", "examples/office-lan", []string{ami, "-var=key_name=key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.folder != "." {
				m.init(t, c.folder)
			}
			file := filepath.Join(t.TempDir(), "plan")
			m.must(t, c.folder, append([]string{"plan", "-no-color", "-input=false", "-out=" + file}, c.vars...)...)
			show, code := m.run(t, c.folder, "show", "-json", file)
			if code != 0 {
				t.Fatal(show)
			}
			findings, err := Lint([]byte(show), 1194)
			if err != nil {
				t.Fatal(err)
			}
			if len(findings) > 0 {
				t.Errorf("the launch has what it must not have:\n%s", strings.Join(findings, "\n"))
			}
			if findings, err = Unwatched([]byte(show), "vpn", signals(t)); err != nil || len(findings) > 0 {
				t.Errorf("the launch calls nobody: %v\n%s", err, strings.Join(findings, "\n"))
			}
		})
	}
	t.Run("terraform test", func(t *testing.T) {
		if out, code := m.run(t, ".", "test", "-no-color"); code != 0 {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
}
