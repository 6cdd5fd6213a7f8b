// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// TestPublish runs the transcripts that publish to a stand-in for AWS. Each
// uses a prefix of its own, for they share it.
func TestPublish(t *testing.T) {
	need(t, "moto_server")
	endpoint := startMoto(t)
	client := secretsOf(endpoint)
	keys := kms.New(kms.Options{
		Region: "ap-northeast-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "publish"),
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"VPNAMI_PASSPHRASE": "correct horse", "AWS_ENDPOINT_URL": endpoint,
				"AWS_REGION": "ap-northeast-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
				"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none",
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mode":      checkMode,
			"snapshot":  takeSnapshot,
			"unchanged": checkUnchanged,
			"kms":       func(ts *testscript.TestScript, negated bool, args []string) { kmsCommand(ts, keys, negated, args) },
			"secret":    func(ts *testscript.TestScript, negated bool, args []string) { secretCommand(ts, client, negated, args) },
		},
	})
}

func secretsOf(endpoint string) *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{
		Region: "ap-northeast-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// TestPublishWithAWrongClock: a clock that is weeks ahead would take out whoever
// seems to have ended, and publish that.
func TestPublishWithAWrongClock(t *testing.T) {
	need(t, "moto_server")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": startMoto(t), "AWS_REGION": "ap-northeast-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none",
	} {
		t.Setenv(name, value)
	}
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, authority.UnderPassphrase{Passphrase: []byte("correct horse")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	at := func(off time.Duration) *desk {
		return &desk{out: &said, err: &said, now: func() time.Time { return time.Now().Add(off) }}
	}
	order := publishOrder{prefix: "vpn/clock"}
	if err := at(0).publish(t.Context(), folder, order); err != nil {
		t.Fatal(err)
	}
	// Also where nothing was published before.
	if err := at(20*24*time.Hour).publish(t.Context(), folder, publishOrder{prefix: "vpn/clock-first"}); err == nil || !strings.Contains(err.Error(), "looking at the clock") {
		t.Errorf("the first publish, with a clock 20 days ahead: %v", err)
	}
	for off, want := range map[time.Duration]string{20 * 24 * time.Hour: "looking at the clock: this machine says", -2 * 24 * time.Hour: "set it right, and publish then", 10 * time.Hour: ""} {
		if err := at(off).publish(t.Context(), folder, order); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("the clock is %s off: %v, want %q", off, err, want)
		}
	}
}

// TestPublishedIsReadBack has a way to AWS on which a shard comes back altered: the
// command does not say that a gateway takes it.
func TestPublishedIsReadBack(t *testing.T) {
	behind, folder := quickOffice(t)
	to, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(answer *http.Response) error {
		if !strings.HasSuffix(answer.Request.Header.Get("X-Amz-Target"), ".GetSecretValue") {
			return nil
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		text = bytes.Replace(text, []byte(`"SecretBinary": "H4sI`), []byte(`"SecretBinary": "h4sI`), 1)
		answer.Body = io.NopCloser(bytes.NewReader(text))
		return nil
	}
	way := httptest.NewServer(proxy)
	t.Cleanup(way.Close)
	publish := startAt(t, way.URL, folder, "publish", "--secret", "altered/office", "--folder", "office")
	<-publish.ended
	said := publish.out.String()
	if publish.err == nil || !strings.Contains(said, `reading back secret "altered/office/access/000": it is not what was written`) || strings.Contains(said, "read back and checked") {
		t.Errorf("%v\n%s", publish.err, said)
	}
}

// TestPublishTenThousandPeople has a company of that size, with everything that
// the roster can say of a person, and twice as many revoked certificates, go to
// the stand-in and back. It also finds what the limit is.
func TestPublishTenThousandPeople(t *testing.T) {
	need(t, "moto_server")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const prefix = "vpn/ten-thousand"
	v := vault{api: secretsOf(startMoto(t))}
	ca := bundletest.New(t, testNow)
	server := ca.Server()

	there, err := readRemote(ctx, v, prefix)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan(server, companyOf(t, ca, 10_000, 20_000), prefix, there, 0, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.compare(ctx, v, there); err != nil {
		t.Fatal(err)
	}
	if err := p.write(ctx, v, func(change) {}); err != nil {
		t.Fatal(err)
	}
	if err := p.verify(ctx, v, testNow); err != nil {
		t.Fatal(err)
	}
	for i, shard := range p.sealed.Shards {
		if len(shard) > 64<<10 {
			t.Errorf("shard %d has %d bytes, a secret holds 65536", i, len(shard))
		}
	}
	t.Logf("10,000 people and 20,000 revocations take %d secrets, %s of what a gateway takes", len(p.sealed.Shards), percent(p.sealed.Share()))

	// A company grows until it is refused, and that in words. One of half the size takes
	// more than half of what there is.
	share := p.sealed.Share()
	for people := 20_000; ; people *= 2 {
		if people > 10_000_000 {
			t.Fatal("no limit is found")
		}
		p, err := plan(server, companyOf(t, ca, people, 2*people), prefix, there, 0, testNow)
		if err != nil {
			t.Logf("%d people and %d revocations: %v", people, 2*people, err)
			if !strings.Contains(err.Error(), "is the limit") {
				t.Errorf("%v", err)
			}
			break
		}
		share = p.sealed.Share()
		t.Logf("%d people and %d revocations take %d secrets, %s of what a gateway takes", people, 2*people, len(p.sealed.Shards), percent(share))
	}
	if share < 0.45 || share > 1 {
		t.Errorf("before it is refused it takes %s of what a gateway takes", percent(share))
	}
}

// companyOf makes people with random serials, addresses, groups and notes.
func companyOf(t *testing.T, ca *bundletest.Authority, people, revoked int) bundle.Access {
	t.Helper()
	serial := func() *big.Int {
		b := make([]byte, 16)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		b[0] = b[0]&0x7f | 0x40
		return new(big.Int).SetBytes(b)
	}
	var serials []*big.Int
	for range revoked {
		serials = append(serials, serial())
	}
	access := bundle.Access{CRL: ca.CRL(1, serials...)}
	for i := range people {
		access.Roster = append(access.Roster, bundle.Person{
			Name: fmt.Sprintf("first.last%d", i), Serials: []*big.Int{serial()},
			Groups: []string{"staff", fmt.Sprintf("team%d", i%97)}, Note: fmt.Sprintf("laptop %d, ext. %d", i*7919%100_003, i),
		})
	}
	return access
}

// kmsCommand is "kms make SPEC USAGE VARIABLE", which puts the ARN of a new key
// into a variable.
func kmsCommand(ts *testscript.TestScript, client *kms.Client, negated bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if negated || len(args) != 4 || args[0] != "make" {
		ts.Fatalf("usage: kms make SPEC USAGE VARIABLE")
	}
	out, err := client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: kmstypes.KeySpec(args[1]), KeyUsage: kmstypes.KeyUsageType(args[2])})
	ts.Check(err)
	ts.Setenv(args[3], aws.ToString(out.KeyMetadata.Arn))
}

// secretCommand is "secret get ID FILE", "secret put ID FILE", "secret make ID"
// (without a value, as Terraform does), "secret describe ID FILE" (its key and
// tags), "secret delete ID" and "secret open
// PREFIX", which reads what the gateway reads, by the ids that the head has.
func secretCommand(ts *testscript.TestScript, client *secretsmanager.Client, negated bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	switch {
	case len(args) == 3 && args[0] == "get":
		var out *secretsmanager.GetSecretValueOutput
		out, err = client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(args[1]), VersionStage: aws.String(currentStage)})
		if err == nil {
			value := out.SecretBinary
			if out.SecretString != nil {
				value = []byte(*out.SecretString)
			}
			err = os.WriteFile(ts.MkAbs(args[2]), value, 0o600)
		}
	case len(args) == 3 && args[0] == "put":
		_, err = client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String(args[1]), SecretString: aws.String(ts.ReadFile(args[2]))})
	case len(args) == 2 && args[0] == "make":
		_, err = client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String(args[1])})
	case len(args) == 3 && args[0] == "describe":
		var out *secretsmanager.DescribeSecretOutput
		if out, err = client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(args[1])}); err == nil {
			text := "key " + aws.ToString(out.KmsKeyId) + "\n"
			for _, tag := range out.Tags {
				text += "tag " + aws.ToString(tag.Key) + "=" + aws.ToString(tag.Value) + "\n"
			}
			err = os.WriteFile(ts.MkAbs(args[2]), []byte(text), 0o600)
		}
	case len(args) == 2 && args[0] == "delete":
		_, err = client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: aws.String(args[1])})
	case len(args) == 2 && args[0] == "open":
		err = openPublished(ctx, client, args[1])
	default:
		ts.Fatalf("usage: secret open PREFIX | get ID FILE | put ID FILE | make ID | delete ID")
	}
	if negated != (err != nil) {
		ts.Fatalf("secret %v: error %v", args, err)
	}
}

func openPublished(ctx context.Context, client *secretsmanager.Client, prefix string) error {
	read := func(id string) ([]byte, error) {
		out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id), VersionStage: aws.String(currentStage)})
		if err != nil {
			return nil, err
		}
		if out.SecretString != nil {
			return []byte(*out.SecretString), nil
		}
		return out.SecretBinary, nil
	}
	server, err := read(bundle.ServerID(prefix))
	if err != nil {
		return err
	}
	rawHead, err := read(bundle.AccessID(prefix))
	if err != nil {
		return err
	}
	head, err := bundle.OpenHead(rawHead)
	if err != nil {
		return err
	}
	var shards [][]byte
	for _, shard := range head.Shards {
		if !strings.HasPrefix(shard.ID, "arn:aws:secretsmanager:ap-northeast-1:") {
			return fmt.Errorf("the head names a shard %q, which is no ARN", shard.ID)
		}
		data, err := read(shard.ID)
		if err != nil {
			return err
		}
		shards = append(shards, data)
	}
	_, _, err = bundle.Open(server, rawHead, shards, time.Now())
	return err
}

// startMoto starts moto_server on a free port and waits until it answers.
func startMoto(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(filepath.Join(t.TempDir(), "moto.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("moto_server", "-H", "127.0.0.1", "-p", fmt.Sprint(port))
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	endpoint := fmt.Sprintf("http://127.0.0.1:%d", port)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/moto-api/data.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
			return endpoint
		}
		time.Sleep(50 * time.Millisecond)
	}
	raw, _ := os.ReadFile(output.Name())
	t.Fatalf("moto_server did not start within a minute:\n%s", raw)
	return ""
}
