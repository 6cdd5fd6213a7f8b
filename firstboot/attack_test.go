// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSecondInterface: SSH is reached by each of the instance's interfaces, the
// tunnel by the first.
func TestSecondInterface(t *testing.T) {
	const cards = "meta-data/network/interfaces/macs/"
	g := newGateway(t, vpnDocument)
	g.cloud.metadata[cards] = "02:00:00:00:01:02/\n02:00:00:00:09:09/"
	g.cloud.metadata[cards+"02:00:00:00:09:09/security-group-ids"] = "sg-0aaa\nsg-0eth1"
	g.cloud.consent["sg-0eth1"] = true
	there := func(id string, r Rule) Rule { r.ID, r.Group = id, "sg-0eth1"; return r }
	g.cloud.rules = append(g.cloud.rules, there("sgr-1ssh", openSSH("")))
	r := g.boot()
	g.want(r, Ready, "")
	slices.Sort(r.SSH.Revoked)
	if diff := cmp.Diff([]string{"sgr-0ssh", "sgr-1ssh"}, r.SSH.Revoked); diff != "" {
		t.Error(diff)
	}
	// The daemon's port is admitted by the second alone.
	other := newGateway(t, vpnDocument)
	other.cloud.metadata, other.cloud.consent = g.cloud.metadata, g.cloud.consent
	other.cloud.rules = []Rule{openSSH("sgr-0ssh"), there("sgr-1udp", admission("", 1194))}
	other.want(other.boot(), Waiting, "looking for ingress to udp/1194")
	if len(other.cloud.rules) != 2 {
		t.Errorf("SSH is closed: %v", other.cloud.rules)
	}
}

// TestSealWhatIsGone: where one of several rules is gone by then, EC2 revokes
// none of them; what is told to be revoked was.
func TestSealWhatIsGone(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.cloud.rules = append(g.cloud.rules, openSSH("sgr-0gone"), openSSH("sgr-0left"))
	g.cloud.spoil("RevokeSecurityGroupIngress", func(w http.ResponseWriter, r *http.Request) {
		form, _ := url.ParseQuery(r.Header.Get("X-Test-Body"))
		g.cloud.mu.Lock()
		defer g.cloud.mu.Unlock()
		// Somebody has closed it in the meantime.
		g.cloud.rules = slices.DeleteFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0gone" })
		for name, values := range form {
			if strings.HasPrefix(name, "SecurityGroupRuleId") && values[0] == "sgr-0gone" {
				ec2Says(http.StatusBadRequest, "InvalidSecurityGroupRuleId.NotFound", "The security group rule ID 'sgr-0gone' does not exist")(w, r)
				return
			}
		}
		g.cloud.answerEC2(w, form)
	})
	r := g.boot()
	g.want(r, Ready, "")
	slices.Sort(r.SSH.Revoked)
	if diff := cmp.Diff([]string{"sgr-0left", "sgr-0ssh"}, r.SSH.Revoked); diff != "" {
		t.Error(diff)
	}
}

// TestManyPages: a rule on the last page of EC2's answer counts as one on the
// first.
func TestManyPages(t *testing.T) {
	g := newGateway(t, vpnDocument)
	rules := g.cloud.rules
	page := func(w http.ResponseWriter, r *http.Request) {
		form, _ := url.ParseQuery(r.Header.Get("X-Test-Body"))
		n := 0
		_, _ = fmt.Sscanf(form.Get("NextToken"), "page-%d", &n)
		g.cloud.mu.Lock()
		defer g.cloud.mu.Unlock()
		all := g.cloud.rules
		if n < len(all) {
			g.cloud.rules = all[n : n+1]
		} else {
			g.cloud.rules = nil
		}
		var body strings.Builder
		g.cloud.answerEC2(recorder{w, &body}, form)
		g.cloud.rules = all
		text := body.String()
		if n+1 < len(all) {
			text = strings.Replace(text, "</securityGroupRuleSet>", fmt.Sprintf("</securityGroupRuleSet><nextToken>page-%d</nextToken>", n+1), 1)
		}
		_, _ = io.WriteString(w, text)
	}
	g.cloud.spoil("DescribeSecurityGroupRules", page)
	g.cloud.rules = append([]Rule{}, rules[0])
	for n := range 5 {
		g.cloud.rules = append(g.cloud.rules, Rule{ID: fmt.Sprintf("sgr-in%d", n), Group: "sg-0aaa", Protocol: "tcp", From: 22, To: 22, Source: Source{Network: prefix("10.0.0.0/16")}})
	}
	g.cloud.rules = append(g.cloud.rules, openSSH("sgr-0ssh"))
	r := g.boot()
	g.want(r, Ready, "")
	if diff := cmp.Diff([]string{"sgr-0ssh"}, r.SSH.Revoked); diff != "" {
		t.Error(diff)
	}
	// A page that names itself as the next does not go on for ever.
	g.cloud.spoil("DescribeSecurityGroupRules", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<DescribeSecurityGroupRulesResponse><securityGroupRuleSet/><nextToken>again</nextToken></DescribeSecurityGroupRulesResponse>")
	})
	began := time.Now()
	g.want(g.boot(), Degraded, "security groups")
	if took := time.Since(began); took > 2*askWithin {
		t.Errorf("took %s", took)
	}
}

type recorder struct {
	http.ResponseWriter
	body *strings.Builder
}

func (r recorder) Write(data []byte) (int, error) { return r.body.Write(data) }

// TestADayWithoutAWS: nothing answers for a day, and the gateway boots in the
// middle of it: whoever was let in is, nothing is restarted but by that boot, and
// what was published meanwhile comes in when it is over.
func TestADayWithoutAWS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, vpnDocument)
		g.want(g.boot(), Ready, "")
		g.systemd.taken()
		before, _ := g.machine.store.read(g.machine.layout.current())
		for _, service := range []string{"imds", "secretsmanager", "ec2"} {
			g.cloud.spoil(service, hang)
		}
		g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
		g.publishAgain(2)
		for began := time.Now(); time.Since(began) < 24*time.Hour; time.Sleep(10 * time.Minute) {
			end, said := g.syncs()
			if said.code == exitReady || end.Cause == "" {
				t.Fatalf("it says %q", said.out)
			}
			if now, _ := g.machine.store.read(g.machine.layout.current()); now != before || g.systemd.states[openvpnUnit] != "active" {
				t.Fatalf("in force is %+v, and the daemon is %s", now, g.systemd.states[openvpnUnit])
			}
			if jobs := g.systemd.taken(); len(jobs) > 0 && time.Since(began) < 12*time.Hour {
				t.Fatalf("it does %q", jobs)
			}
			if at := time.Since(began); at >= 12*time.Hour && at < 12*time.Hour+10*time.Minute {
				g.reboot()
				g.want(g.boot(), Degraded, "metadata service")
			}
		}
		for _, service := range []string{"imds", "secretsmanager", "ec2"} {
			g.cloud.spoil(service, nil)
		}
		g.sync(exitReady, "brought in generation 2")
	})
}

// FuzzEC2Answer: whatever EC2 answers, nothing is revoked that is no exact rule
// for SSH of the group that was asked about, and it ends.
func FuzzEC2Answer(f *testing.F) {
	f.Add([]byte("<DescribeSecurityGroupRulesResponse><securityGroupRuleSet><item><securityGroupRuleId>sgr-1</securityGroupRuleId><groupId>sg-0aaa</groupId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort><cidrIpv4>0.0.0.0/0</cidrIpv4></item></securityGroupRuleSet></DescribeSecurityGroupRulesResponse>"))
	f.Add([]byte("<Response><Errors><Error><Code>X</Code></Error></Errors></Response>"))
	f.Add([]byte("<DescribeSecurityGroupRulesResponse><securityGroupRuleSet><item><ipProtocol>-1</ipProtocol></item></securityGroupRuleSet>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t)
			c.spoil("DescribeSecurityGroupRules", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
			_, clients := c.clients()
			began := time.Now()
			gate, err := readGate(t.Context(), clients.ingress, []string{"sg-0aaa"})
			if took := time.Since(began); took > askWithin {
				t.Errorf("took %s", took)
			}
			if err != nil {
				return
			}
			for _, r := range planSeal(gate, articleInstance().VPC).Revoke {
				if r.Group != "sg-0aaa" || r.Protocol != "tcp" || r.From != sshPort || r.To != sshPort || r.ID == "" {
					t.Errorf("revokes %+v", r)
				}
			}
		})
	})
}

// FuzzIMDSAnswer: whatever the metadata service answers to any of the questions,
// what comes of it is an instance that can be named in paths and requests.
func FuzzIMDSAnswer(f *testing.F) {
	paths := []string{"dynamic/instance-identity/document", "meta-data/mac", "meta-data/network/interfaces/macs/", "meta-data/network/interfaces/macs/02:00:00:00:01:02/security-group-ids", "meta-data/tags/instance", "user-data", "api/token"}
	f.Add(0, []byte("{\"instanceId\":\"../x\"}"))
	f.Add(2, []byte("../../user-data"))
	f.Add(3, []byte("sg-1 sg-*"))
	f.Add(4, []byte("vpnami:role"))
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t)
			c.spoil(paths[uint(which)%uint(len(paths))], func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
			metadata, _ := c.clients()
			ctx := t.Context()
			instance, err := identify(ctx, metadata)
			if err != nil {
				return
			}
			for _, word := range append(instance.everyGroup(), instance.ID, instance.Region, instance.MAC) {
				if word == "" || strings.ContainsAny(word, "/\n\"* ") {
					t.Errorf("accepts %q", word)
				}
			}
			if _, err := configure(instance); err != nil {
				if state, advice := verdict(err); state == Ready || advice == "" {
					t.Errorf("%s, %q", state, advice)
				}
			}
		})
	})
}
