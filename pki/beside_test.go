// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestTwoPrograms builds what "make build" does: the desk, and the program
// beside it that speaks with AWS.
func TestTwoPrograms(t *testing.T) {
	need(t, "moto_server")
	t.Parallel()
	bin := t.TempDir()
	build(t, "-tags", "noaws", "-o", filepath.Join(bin, "vpnami-pki"), ".")
	build(t, "-o", filepath.Join(bin, besideName), ".")

	endpoint := startMoto(t)
	keys := kms.New(kms.Options{
		Region: "ap-northeast-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	made, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	environment := append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse", "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=ap-northeast-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=none", "AWS_SHARED_CREDENTIALS_FILE=none")
	run := func(fails bool, says string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "vpnami-pki"), args...)
		cmd.Dir, cmd.Env = folder, environment
		out, err := cmd.CombinedOutput()
		if (err != nil) != fails || !strings.Contains(string(out), says) {
			t.Fatalf("vpnami-pki %s: %v, and does not say %q:\n%s", strings.Join(args, " "), err, says, out)
		}
	}
	run(false, "made the authority", "init", "office", "--server-name", "vpn.example.com")
	run(false, "added to the roster", "issue", "client1", "--folder", "office")
	run(false, "a gateway launched with secret \"vpn/two\" takes it", "publish", "--folder", "office", "--secret", "vpn/two")
	run(true, "--secret is needed", "publish", "--folder", "office")
	run(false, "--dry-run", "publish", "--help")
	run(false, "--dry-run", "help", "publish")
	arn := aws.ToString(made.KeyMetadata.Arn)
	run(false, "protect the KMS key", "init", "held", "--kms", arn, "--server-name", "vpn.example.com")
	run(false, "added to the roster", "issue", "client2", "--folder", "held")
	// What comes through a pipe comes once.
	piped := exec.CommandContext(t.Context(), filepath.Join(bin, "vpnami-pki"), "issue", "--from", "/dev/stdin", "--folder", "held")
	piped.Dir, piped.Env, piped.Stdin = folder, environment, strings.NewReader("name\nclient4\n")
	if out, err := piped.CombinedOutput(); err != nil {
		t.Fatalf("issuing to a list from a pipe: %v\n%s", err, out)
	}
	run(false, "it signs from now on", "rollover", "start", "--folder", "office", "--kms", arn)
	run(false, "revoked client1", "revoke", "client1", "--folder", "office")

	// By itself the desk does what needs no AWS, and says what is missing for
	// the rest.
	if err := os.Remove(filepath.Join(bin, besideName)); err != nil {
		t.Fatal(err)
	}
	run(false, "good", "list", "--folder", "held")
	const missing = besideName + `", which speaks with AWS: no such file or directory: it belongs beside `
	run(true, missing, "publish", "--folder", "office", "--secret", "vpn/two")
	run(true, missing, "publish", "--help")
	run(true, missing, "help", "publish")
	run(true, missing, "issue", "client3", "--folder", "held")
	run(true, missing, "init", "third", "--kms", arn)
	if _, err := os.Stat(filepath.Join(folder, "third")); !os.IsNotExist(err) {
		t.Errorf("there is a third authority: %v", err)
	}

	// What speaks with AWS and opens no key is not given what opens one.
	if err := os.WriteFile(filepath.Join(bin, besideName), []byte("#!/bin/sh\nenv\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"publish", "--folder", "office"}, {"help", "publish"}} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "vpnami-pki"), args...)
		cmd.Dir, cmd.Env = folder, append(environment, "VPNAMI_P12_PASSWORD=correct horse")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "correct horse") || !strings.Contains(string(out), "AWS_REGION=ap-northeast-1\n") {
			t.Errorf("vpnami-pki %q gives its environment on: %v\n%s", args, err, out)
		}
	}

	if err := os.Remove(filepath.Join(bin, besideName)); err != nil {
		t.Fatal(err)
	}

	// The wrong program beside it: of another release, or itself once more.
	build(t, "-ldflags", "-X main.version=0.0.1", "-o", filepath.Join(bin, besideName), ".")
	run(true, "they are not of the same release", "publish", "--folder", "office", "--secret", "vpn/two")
	if err := os.Remove(filepath.Join(bin, besideName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("vpnami-pki", filepath.Join(bin, besideName)); err != nil {
		t.Fatal(err)
	}
	run(true, "put the "+besideName+" of the release there", "publish", "--folder", "office", "--secret", "vpn/two")
}

// TestDeskLinksNoNetwork keeps out of the program that opens the CA's key what
// it has no use for.
func TestDeskLinksNoNetwork(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-tags", "noaws", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		const onlyParses = "github.com/aws/aws-sdk-go-v2/aws/arn"
		if name == "net/http" || name == "crypto/tls" || strings.HasPrefix(name, "github.com/aws/") && name != onlyParses {
			t.Errorf("vpnami-pki links %s", name)
		}
	}
}

func build(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
