// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package mototest starts moto, the stand-in for AWS, for a test.
package mototest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/moto"
)

// startWait: it takes three seconds, and ten times as long on a busy machine.
const startWait = time.Minute

// Start starts moto_server and returns its address, "http://127.0.0.1:PORT". It
// ends with the test. Where moto is missing, the test is skipped, or fails if
// VPNAMI_REQUIRE says that nothing may be skipped.
func Start(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("moto_server")
	if err != nil {
		if os.Getenv("VPNAMI_REQUIRE") == "1" {
			t.Fatal("moto_server is not on PATH; scripts/moto installs it")
		}
		t.Skip("moto_server is not on PATH")
	}
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "moto.log"))
	if err != nil {
		t.Fatal(err)
	}
	supplement, err := moto.Supplement(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Ended by the clean-up, which waits for it.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, "-H", "127.0.0.1", "-p", port)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), supplement...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	for deadline := time.Now().Add(startWait); ; time.Sleep(100 * time.Millisecond) {
		if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
			_ = c.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("moto_server did not start within %s:\n%s", startWait, said)
		}
	}
}

// Image is one that this moto lists: Canonical's of Ubuntu 24.04 for amd64. Beside it
// is a newer one of a stranger, of the same name.
const Image = "ami-0c0de240404a64000"

// Environment is that of a program which is to reach moto and nothing else.
func Environment(endpoint, region string) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region, "AWS_ACCESS_KEY_ID": anybody().ID, "AWS_SECRET_ACCESS_KEY": anybody().Secret,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none",
	}
}

// Environ is [Environment] as a program is given it, NAME=VALUE.
func Environ(endpoint, region string) []string {
	var all []string
	for name, value := range Environment(endpoint, region) {
		all = append(all, name+"="+value)
	}
	return all
}

// EC2 is a client of that moto.
func EC2(endpoint, region string) *ec2.Client { return EC2As(endpoint, region, anybody()) }

// EC2As is EC2 as that user.
func EC2As(endpoint, region string, as Keys) *ec2.Client {
	return ec2.New(ec2.Options{Region: region, BaseEndpoint: aws.String(endpoint), Credentials: as.Provider()})
}
