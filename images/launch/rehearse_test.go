// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

const (
	labName = "rehearse"
	example = "examples/office-lan"
)

var stepPrivate = netip.MustParseAddr("10.0.2.2")

// rehearsal is one launch of the article's network, from the first apply to the
// destroy: each stage takes what those before it made.
type rehearsal struct {
	*lab.Lab
	launchtest.Module
	guest     *amitest.Guest
	login     string // cloud-init's default user of what is booted
	pki       string
	vars      map[string]string
	remote    string
	role      string
	bootstrap string
	publisher publisher
}

// publisher is the operator's own account at the desk, with the shipped policy and
// nothing else.
type publisher struct {
	policy string // ARN
	env    []string
}

func TestRehearsal(t *testing.T) {
	r := open(t)
	began := time.Now()
	stage := func(name string, do func(*testing.T)) {
		t.Helper()
		start := time.Now()
		if !t.Run(name, do) {
			t.FailNow()
		}
		t.Logf("%-52s %5.1f s", name, time.Since(start).Seconds())
	}
	stage("IAM is enforced from here", func(t *testing.T) { fatal(t, r.EnforceIAM(t.Context())) })
	stage("the AMI is baked by the template", r.bake)
	stage("terraform apply", r.apply)
	stage("the second plan is empty", func(t *testing.T) { r.Empty(t, example, r.vars) })
	stage("the desk's policy, an action less each time", r.publisherPolicy)
	stage("the secret is published", r.publish)
	stage("first boot", r.firstBoot)
	stage("a client reaches the bastion", r.use)
	stage("the plan is empty after SSH was closed", func(t *testing.T) { r.Empty(t, example, r.vars) })
	stage("what raises an alarm", r.alarms)
	stage("the gateway's policy, an action less each time", r.gatewayPolicy)
	stage("a group that others have too", r.sharedGroup)
	stage("replaced without a cut", r.replace)
	stage("terraform destroy leaves nothing", r.destroy)
	stage("several gateways, and the second plan is empty", r.several)
	t.Logf("%-52s %5.1f s (bound 360 s)", "all of it", time.Since(began).Seconds())
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T) *rehearsal {
	t.Helper()
	// Before the lab, so that it ends after the machines that boot what became of it.
	guest := amitest.StartGuest(t, filepath.Join(os.Getenv("VPNAMI_IMAGE"), "root.tar"))
	r := openLab(t)
	r.guest = guest
	return r
}

// openLab is the lab with a copy of the module, before anything is launched.
func openLab(t *testing.T) *rehearsal {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Fatalf("a rehearsal needs terraform: %v", err)
	}
	programs := map[string]string{"vpnami-lab": "", "vpnami-pki": ""}
	for name := range programs {
		path, err := exec.LookPath(name)
		fatal(t, err)
		programs[name], err = filepath.Abs(path)
		fatal(t, err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	fatal(t, lab.Down(ctx, labName, log))
	l, err := lab.Up(ctx, lab.Options{Name: labName, Image: os.Getenv("VPNAMI_IMAGE"), Program: programs["vpnami-lab"], Log: log})
	fatal(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if logs := os.Getenv("VPNAMI_LOGS"); t.Failed() && logs != "" {
			t.Logf("the logs of every station are in %s (%v)", logs, l.CollectLogs(ctx, logs))
		}
		if err := l.Down(ctx); err != nil {
			t.Errorf("taking the lab down: %v", err)
		}
	})
	desk, err := l.Host("desk")
	fatal(t, err)
	r := &rehearsal{Lab: l, login: "debian", pki: programs["vpnami-pki"], Module: launchtest.Copy(t, ".", t.TempDir(), l.AWSEnv(), desk.Command)}
	r.vars = map[string]string{"key_name": l.VPC().KeyName, "secret_recovery_days": "0"}
	fatal(t, os.WriteFile(filepath.Join(l.Dir(), "passphrase"), []byte(passphrase+"\n"), 0o600))
	return r
}

func (r *rehearsal) apply(t *testing.T) {
	made := r.firstApply(t)
	r.publisher = r.makePublisher(t, made.Publisher)
}

// made is what the module tells of a launch.
type made struct {
	Remote    string
	Role      string
	Publisher string            `json:"publisher_policy_arn"`
	Groups    map[string]string `json:"security_groups"`
}

func (r *rehearsal) firstApply(t *testing.T) made {
	t.Helper()
	r.Init(t, example)
	r.Apply(t, example, r.vars)
	var out struct{ VPN struct{ Value made } }
	fatal(t, json.Unmarshal([]byte(r.Must(t, example, "output", "-json")), &out))
	r.remote, r.role, r.bootstrap = out.VPN.Value.Remote, out.VPN.Value.Role, out.VPN.Value.Groups["bootstrap"]
	return out.VPN.Value
}

// passphrase is of the keys of the desk's CAs.
const passphrase = "only for the minutes of a test"

// runPKI runs the operator's command at the desk, as the publisher.
func (r *rehearsal) runPKI(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return r.runPKIOf(t, "office", args...)
}

// runPKIOf is runPKI for another authority of the desk.
func (r *rehearsal) runPKIOf(t *testing.T, authority string, args ...string) (string, error) {
	t.Helper()
	desk, err := r.Host("desk")
	fatal(t, err)
	cmd := desk.Command(within(t, time.Minute), r.pki, append(args, "--folder", filepath.Join(r.Dir(), authority))...)
	cmd.Env = append(append(append(os.Environ(), r.AWSEnv()...), r.publisher.env...), "VPNAMI_PASSPHRASE_FILE="+filepath.Join(r.Dir(), "passphrase"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running vpnami-pki %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

func (r *rehearsal) publish(t *testing.T) {
	_, err := r.runPKI(t, "publish", "--secret", "vpn/office")
	fatal(t, err)
}

func (r *rehearsal) firstBoot(t *testing.T) {
	for _, name := range []string{"vpn", "step"} {
		i, err := r.Instance(within(t, 30*time.Second), name)
		fatal(t, err)
		_, err = i.WaitReady(within(t, time.Minute))
		fatal(t, err)
	}
}

func (r *rehearsal) use(t *testing.T) {
	client, err := r.Host("client1")
	fatal(t, err)
	s, err := client.Connect(within(t, 30*time.Second), filepath.Join(r.Dir(), "client1.ovpn"))
	fatal(t, err)
	defer func() { fatal(t, s.Close()) }()
	out, err := client.SSH(within(t, 30*time.Second), r.login, stepPrivate, `echo "$(hostname) sees ${SSH_CONNECTION%% *}"`)
	fatal(t, err)
	t.Logf("client1, %s: %s", s.Address(), strings.TrimSpace(out))
	desk, err := r.Host("desk")
	fatal(t, err)
	port, err := desk.Probe(within(t, 10*time.Second), r.remote+":22", 2*time.Second)
	fatal(t, err)
	if port != lab.PortFiltered {
		t.Errorf("SSH to the gateway from outside is %s", port)
	}
}

func (r *rehearsal) destroy(t *testing.T) {
	r.Destroy(t, example, r.vars)
	if left := strings.TrimSpace(r.Must(t, example, "state", "list")); left != "" {
		t.Errorf("the state still has:\n%s", left)
	}
	running, err := r.Instances(t.Context())
	fatal(t, err)
	for _, i := range running {
		t.Errorf("instance %s is left", i.Name())
	}
	secrets, err := secretsmanager.NewFromConfig(r.AWS()).ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
	fatal(t, err)
	for _, s := range secrets.SecretList {
		t.Errorf("secret %s is left", aws.ToString(s.Name))
	}
}
