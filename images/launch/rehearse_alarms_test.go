// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// alarms has the gateway tell what it would be called for, and asks of each alarm that
// was launched whether the change of the very tag that EC2 has now would raise it.
// EventBridge itself, which would carry it, moto does not play.
func (r *rehearsal) alarms(t *testing.T) {
	vpn, err := r.Instance(t.Context(), "vpn")
	fatal(t, err)
	var state struct {
		Values struct {
			Root Module `json:"root_module"`
		}
	}
	fatal(t, json.Unmarshal([]byte(r.Must(t, example, "show", "-json")), &state))
	watched := watchedRules(t, state.Values.Root)
	want := func(when, raised string) {
		t.Helper()
		tags := r.tags(t, vpn)
		for _, s := range signals(t) {
			if tags[s.Tag] == "" {
				t.Errorf("%s: the gateway says nothing by %s", when, s.Tag)
			}
			for name, pattern := range watched {
				if got := pattern.Matches(TagChange(s.Tag, tags)); got != (name == raised && tags[s.Tag] != s.Good) {
					t.Errorf("%s: %s=%q raises %s: %v", when, s.Tag, tags[s.Tag], name, got)
				}
				if name == raised && pattern.Matches(TagChange(s.Tag, tags)) {
					t.Logf("%s: %s=%q raises the alarm of %s", when, s.Tag, tags[s.Tag], name)
					raised = ""
				}
			}
		}
		if raised != "" {
			t.Errorf("%s: nothing raises the alarm of %s: %v", when, raised, tags)
		}
	}
	r.sync(t, vpn)
	want("all is well", "")

	r.publishEnding(t, time.Now().AddDate(0, 0, 10))
	r.sync(t, vpn)
	want("ten days before its certificate ends", "vpnami-vpn-certificate")
	_, err = r.runPKI(t, "publish", "--secret", "vpn/office", "--replace")
	fatal(t, err)
	r.sync(t, vpn)
	want("with another certificate", "")

	client, name := iam.NewFromConfig(r.AWS()), aws.String("gateway")
	got, err := client.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &r.role, PolicyName: name})
	fatal(t, err)
	whole := plain(t, aws.ToString(got.PolicyDocument))
	set := func(policy string) {
		_, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &r.role, PolicyName: name, PolicyDocument: &policy})
		fatal(t, err)
	}
	set(mototest.Without(t, whole)["secretsmanager:GetSecretValue"])
	r.sync(t, vpn)
	want("a sync that has just failed", "")
	r.edit(t, vpn, "/var/lib/vpnami/sync.json", "failing", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	r.sync(t, vpn)
	want("an hour after the syncs began to fail", "vpnami-vpn-sync")
	set(whole)
	r.sync(t, vpn)
	want("the syncs work again", "")
}

// publishEnding publishes an authority whose gateway's certificate ends then: it was
// made so much earlier. Its list of revocations is of today.
func (r *rehearsal) publishEnding(t *testing.T, end time.Time) {
	t.Helper()
	_, err := authority.Make(authority.Plan{Path: filepath.Join(r.Dir(), "ending"), Name: "ending", ServerName: "vpn.example.com"},
		authority.UnderPassphrase{Passphrase: []byte(passphrase)}, end.Add(-authority.ServerLife))
	fatal(t, err)
	for _, args := range [][]string{{"crl"}, {"publish", "--secret", "vpn/office", "--replace"}} {
		_, err := r.runPKIOf(t, "ending", args...)
		fatal(t, err)
	}
}

// watchedRules are the patterns of the rules that an alarm counts.
func watchedRules(t *testing.T, m Module) map[string]Pattern {
	t.Helper()
	rules, err := readRules(m)
	fatal(t, err)
	watched := map[string]Pattern{}
	for name, rule := range rules {
		if rule.targeted && rule.counted {
			watched[name] = rule.pattern
		}
	}
	if len(watched) != len(signals(t)) {
		t.Fatalf("%d alarms for %d signals: %v", len(watched), len(signals(t)), watched)
	}
	return watched
}

func (r *rehearsal) tags(t *testing.T, i *lab.Instance) map[string]string {
	t.Helper()
	out, err := ec2.NewFromConfig(r.AWS()).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{i.ID()}})
	fatal(t, err)
	tags := map[string]string{}
	for _, tag := range out.Reservations[0].Instances[0].Tags {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags
}

// sync runs the timer's program, however it ends.
func (r *rehearsal) sync(t *testing.T, i *lab.Instance) {
	t.Helper()
	// systemd starts a unit five times in ten seconds and no more.
	_, err := i.Exec(within(t, 10*time.Second), "systemctl", "reset-failed", "vpnami-sync.service")
	fatal(t, err)
	_, err = i.Exec(within(t, time.Minute), "systemctl", "start", "vpnami-sync.service")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
}

// edit sets a field of a file of JSON.
func (r *rehearsal) edit(t *testing.T, i *lab.Instance, path, field, value string) {
	t.Helper()
	_, err := i.Exec(within(t, 10*time.Second), "sed", "-i", fmt.Sprintf(`s|"%s": "[^"]*"|"%s": "%s"|`, field, field, value), path)
	fatal(t, err)
}
