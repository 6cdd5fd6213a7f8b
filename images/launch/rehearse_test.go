// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

const (
	labName = "rehearse"
	example = "examples/office-lan"
	login   = "debian" // cloud-init's default user of the image
)

var stepPrivate = netip.MustParseAddr("10.0.2.2")

// rehearsal is one launch of the article's network, from the first apply to the
// destroy: each stage takes what those before it made.
type rehearsal struct {
	*lab.Lab
	module
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
	stage("terraform apply", r.apply)
	stage("the second plan is empty", func(t *testing.T) { r.empty(t, example, variables(r.vars)...) })
	stage("the desk's policy, an action less each time", r.publisherPolicy)
	stage("the secret is published", r.publish)
	stage("first boot", r.firstBoot)
	stage("a client reaches the bastion", r.use)
	stage("the plan is empty after SSH was closed", func(t *testing.T) { r.empty(t, example, variables(r.vars)...) })
	stage("the gateway's policy, an action less each time", r.gatewayPolicy)
	stage("replaced without a cut", r.replace)
	stage("terraform destroy leaves nothing", r.destroy)
	t.Logf("%-52s %5.1f s (bound 360 s with what comes before)", "all of it", time.Since(began).Seconds())
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
	r := &rehearsal{Lab: l, pki: programs["vpnami-pki"], module: copyModule(t, l.AWSEnv(), desk.Command)}
	r.vars = map[string]string{"ami": l.VPC().Image, "key_name": l.VPC().KeyName, "secret_recovery_days": "0"}
	fatal(t, os.WriteFile(filepath.Join(l.Dir(), "passphrase"), []byte("only for the minutes of a test\n"), 0o600))
	return r
}

func (r *rehearsal) apply(t *testing.T) {
	r.init(t, example)
	r.must(t, example, append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, variables(r.vars)...)...)
	var out struct {
		VPN struct {
			Value struct {
				Remote    string
				Role      string
				Publisher string            `json:"publisher_policy_arn"`
				Groups    map[string]string `json:"security_groups"`
			}
		}
	}
	fatal(t, json.Unmarshal([]byte(r.must(t, example, "output", "-json")), &out))
	r.remote, r.role, r.bootstrap = out.VPN.Value.Remote, out.VPN.Value.Role, out.VPN.Value.Groups["bootstrap"]
	r.publisher = r.makePublisher(t, out.VPN.Value.Publisher)
}

func (r *rehearsal) makePublisher(t *testing.T, policy string) publisher {
	t.Helper()
	client, name := iam.NewFromConfig(r.AWS()), aws.String("publisher")
	_, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: name})
	fatal(t, err)
	_, err = client.AttachUserPolicy(t.Context(), &iam.AttachUserPolicyInput{UserName: name, PolicyArn: &policy})
	fatal(t, err)
	made, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: name})
	fatal(t, err)
	return publisher{policy: policy, env: []string{"AWS_ACCESS_KEY_ID=" + aws.ToString(made.AccessKey.AccessKeyId), "AWS_SECRET_ACCESS_KEY=" + aws.ToString(made.AccessKey.SecretAccessKey)}}
}

// runPKI runs the operator's command at the desk, as the publisher.
func (r *rehearsal) runPKI(t *testing.T, args ...string) (string, error) {
	t.Helper()
	desk, err := r.Host("desk")
	fatal(t, err)
	cmd := desk.Command(within(t, time.Minute), r.pki, append(args, "--folder", filepath.Join(r.Dir(), "office"))...)
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

// plain undoes the encoding in which IAM gives a policy.
func plain(t *testing.T, policy string) string {
	t.Helper()
	text, err := url.QueryUnescape(policy)
	fatal(t, err)
	return text
}

// document is an IAM policy as far as it is taken apart here.
type document struct {
	Version   string
	Statement []map[string]any
}

// without makes a policy for each action of each statement, that lacks it.
func without(t *testing.T, policy string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var whole document
	fatal(t, json.Unmarshal([]byte(policy), &whole))
	for i, statement := range whole.Statement {
		actions, ok := statement["Action"].([]any)
		if !ok {
			actions = []any{statement["Action"]}
		}
		for _, action := range actions {
			less := document{Version: whole.Version}
			for k, other := range whole.Statement {
				if k != i {
					less.Statement = append(less.Statement, other)
				}
			}
			var rest []any
			for _, other := range actions {
				if other != action {
					rest = append(rest, other)
				}
			}
			if len(rest) > 0 {
				part := map[string]any{}
				for key, value := range statement {
					part[key] = value
				}
				part["Action"] = rest
				less.Statement = append(less.Statement, part)
			}
			data, err := json.Marshal(less)
			fatal(t, err)
			all[action.(string)] = string(data)
		}
	}
	return all
}

// publisherPolicy takes each action away from the desk's policy in turn. The
// secrets exist without a value, as Terraform has made them.
func (r *rehearsal) publisherPolicy(t *testing.T) {
	for _, args := range [][]string{
		{"init", "office", "--server-name", "vpn.example.com"},
		{"issue", "client1", "client2", "--out", r.Dir(), "--remote", r.remote},
	} {
		_, err := r.runPKI(t, args...)
		fatal(t, err)
	}
	client := iam.NewFromConfig(r.AWS())
	set := func(policy string) {
		t.Helper()
		versions, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &r.publisher.policy})
		fatal(t, err)
		for _, v := range versions.Versions { // AWS keeps five
			if !v.IsDefaultVersion && aws.ToString(v.VersionId) != "v1" {
				_, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: v.VersionId})
				fatal(t, err)
			}
		}
		_, err = client.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: &r.publisher.policy, PolicyDocument: &policy, SetAsDefault: true})
		fatal(t, err)
	}
	whole, err := client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: aws.String("v1")})
	fatal(t, err)
	policy := plain(t, aws.ToString(whole.PolicyVersion.Document))
	for action, less := range without(t, policy) {
		set(less)
		prefix := "vpn/office"
		if action == "secretsmanager:CreateSecret" {
			prefix = "vpn/office/another" // covered by the policy; nobody has made it
		}
		out, err := r.runPKI(t, "publish", "--secret", prefix)
		if err == nil || !strings.Contains(out, "they need "+action+" on it") {
			t.Errorf("without %s, publish says:\n%s", action, out)
			continue
		}
		t.Logf("without %-34s publish: %s", action, strings.TrimSpace(strings.SplitN(out, ": AWS", 2)[0]))
	}
	_, err = client.SetDefaultPolicyVersion(t.Context(), &iam.SetDefaultPolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: aws.String("v1")})
	fatal(t, err)
	versions, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &r.publisher.policy})
	fatal(t, err)
	for _, v := range versions.Versions {
		if aws.ToString(v.VersionId) != "v1" {
			_, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: v.VersionId})
			fatal(t, err)
		}
	}
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
	out, err := client.SSH(within(t, 30*time.Second), login, stepPrivate, `echo "$(hostname) sees ${SSH_CONNECTION%% *}"`)
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

// gatewayPolicy takes each action away from the gateway's role in turn and has the
// program run again, SSH opened anew. It must say which step lacks it.
func (r *rehearsal) gatewayPolicy(t *testing.T) {
	lacking := map[string]string{
		"secretsmanager:GetSecretValue":  "unseal",
		"ec2:DescribeSecurityGroups":     "seal",
		"ec2:DescribeSecurityGroupRules": "seal",
		"ec2:RevokeSecurityGroupIngress": "seal",
		"ec2:CreateTags":                 "tagging instance", // the report, which warns: the boot is over by then
	}
	vpn, err := r.Instance(t.Context(), "vpn")
	fatal(t, err)
	client, name := iam.NewFromConfig(r.AWS()), aws.String("gateway")
	got, err := client.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &r.role, PolicyName: name})
	fatal(t, err)
	whole := plain(t, aws.ToString(got.PolicyDocument))
	set := func(policy string) {
		t.Helper()
		_, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &r.role, PolicyName: name, PolicyDocument: &policy})
		fatal(t, err)
	}
	again := func() lab.Result {
		t.Helper()
		_, err := vpn.Exec(within(t, time.Minute), "systemctl", "restart", "vpnami-firstboot.service")
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		result, err := vpn.Result(t.Context())
		fatal(t, err)
		return result
	}
	for action, less := range without(t, whole) {
		step, known := lacking[action]
		if !known {
			t.Errorf("the policy allows %s, and it is not known which step needs it", action)
			continue
		}
		r.openSSH(t)
		set(less)
		result := again()
		var said struct {
			Steps []struct {
				Name   string
				Failed bool
			}
			Warnings []string
		}
		fatal(t, json.Unmarshal(result.Raw, &said))
		failed, told := "", result.Cause
		for _, s := range said.Steps {
			if s.Failed {
				failed = s.Name
			}
		}
		for _, w := range said.Warnings {
			if failed == "" && strings.HasPrefix(w, step) {
				failed, told = step, w
			}
		}
		if failed != step {
			t.Errorf("without %s failed %q, want %q: %s", action, failed, step, result.Raw)
		}
		t.Logf("without %-34s %s, %s: %s", action, result.State, failed, told)
	}
	set(whole)
	if result := again(); result.State != "ready" {
		t.Errorf("with the whole policy again it is %s: %s", result.State, result.Cause)
	}
}

func (r *rehearsal) openSSH(t *testing.T) {
	t.Helper()
	rule := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}
	_, err := ec2.NewFromConfig(r.AWS()).AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &r.bootstrap, IpPermissions: []types.IpPermission{rule}})
	if err != nil && !strings.Contains(err.Error(), "Duplicate") {
		t.Fatal(err)
	}
}

// replace has a second gateway take over the address while two clients are
// connected: it is made ready beside the first, which is then stopped and loses the
// address. Terraform is told last, and finds nothing to move.
func (r *rehearsal) replace(t *testing.T) {
	r.vars["gateways"] = `{a={private_address="10.0.1.2"},b={}}`
	r.must(t, example, append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, variables(r.vars)...)...)
	next, err := r.Instance(within(t, 30*time.Second), "vpn-b")
	fatal(t, err)
	_, err = next.WaitReady(within(t, time.Minute))
	fatal(t, err)

	var away []*absence
	for _, name := range []string{"client1", "client2"} {
		host, err := r.Host(name)
		fatal(t, err)
		s, err := host.Connect(within(t, 30*time.Second), filepath.Join(r.Dir(), name+".ovpn"))
		fatal(t, err)
		defer func() { fatal(t, s.Close()) }()
		away = append(away, watch(t, host))
	}
	old, err := r.Instance(t.Context(), "vpn")
	fatal(t, err)
	client := ec2.NewFromConfig(r.AWS())
	address, err := client.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{PublicIps: []string{r.remote}})
	fatal(t, err)
	began := time.Now()
	// Its daemon tells its clients that it ends, for as long as it has the address.
	_, err = client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{old.ID()}})
	fatal(t, err)
	for _, a := range away {
		fatal(t, a.left(within(t, 30*time.Second)))
	}
	_, err = client.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{AllocationId: address.Addresses[0].AllocationId, InstanceId: aws.String(next.ID()), AllowReassociation: aws.Bool(true)})
	fatal(t, err)
	t.Logf("the address has moved after %.1f s", time.Since(began).Seconds())
	for _, a := range away {
		took, err := a.back(within(t, 90*time.Second))
		fatal(t, err)
		t.Logf("%s was away for %.1f s", a.host.Name(), took.Seconds())
	}
	r.vars["active"] = "b"
	out := r.must(t, example, append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, variables(r.vars)...)...)
	t.Log(summary(out))
	r.vars["gateways"] = `{b={}}`
	out = r.must(t, example, append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, variables(r.vars)...)...)
	t.Log(summary(out))
	for _, a := range away {
		if gone := a.stop(); gone > 1 {
			t.Errorf("%s was away %d times", a.host.Name(), gone)
		}
	}
}

func summary(out string) string {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "Apply complete") {
			return strings.TrimSpace(line)
		}
	}
	return "no summary"
}

// absence watches whether a client reaches the bastion through its tunnel.
type absence struct {
	host *lab.Host
	end  context.CancelFunc

	mu    sync.Mutex
	gone  []time.Time
	again []time.Time
}

func watch(t *testing.T, host *lab.Host) *absence {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	a := &absence{host: host, end: end}
	go func() {
		reached := true
		for ctx.Err() == nil {
			// Through the tunnel an answer takes a millisecond.
			port, err := host.Probe(ctx, netip.AddrPortFrom(stepPrivate, 22).String(), 300*time.Millisecond)
			now := err == nil && port == lab.PortOpen
			if ctx.Err() == nil && now != reached {
				a.mu.Lock()
				if now {
					a.again = append(a.again, time.Now())
				} else {
					a.gone = append(a.gone, time.Now())
				}
				a.mu.Unlock()
				reached = now
			}
			// Rarely enough for sshd, which remembers who connects and says nothing.
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return a
}

func (a *absence) times() (gone, again []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone, a.again
}

func (a *absence) left(ctx context.Context) error {
	for {
		if gone, _ := a.times(); len(gone) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to lose its tunnel: %w", a.host.Name(), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// back waits until the client is there again and tells for how long it was not.
func (a *absence) back(ctx context.Context) (time.Duration, error) {
	for {
		if gone, again := a.times(); len(gone) > 0 && len(again) > 0 {
			return again[0].Sub(gone[0]), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for %s to be back: %w", a.host.Name(), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (a *absence) stop() int {
	a.end()
	gone, _ := a.times()
	return len(gone)
}

func (r *rehearsal) destroy(t *testing.T) {
	r.must(t, example, append([]string{"destroy", "-no-color", "-input=false", "-auto-approve"}, variables(r.vars)...)...)
	if left := strings.TrimSpace(r.must(t, example, "state", "list")); left != "" {
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

// empty asserts that a plan has nothing to change.
func (m module) empty(t *testing.T, folder string, vars ...string) {
	t.Helper()
	out, code := m.run(t, folder, append([]string{"plan", "-no-color", "-input=false", "-detailed-exitcode"}, vars...)...)
	if code != 0 {
		t.Fatalf("the plan is not empty (exit code %d):\n%s", code, out)
	}
}

func variables(values map[string]string) []string {
	var args []string
	for name, value := range values {
		args = append(args, fmt.Sprintf("-var=%s=%s", name, value))
	}
	return args
}
