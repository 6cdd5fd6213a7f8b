// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

// TestPolicies: what promotes and what sweeps does all of it with its policy, and
// without any one action of it fails and names that one.
func TestPolicies(t *testing.T) {
	moto := mototest.Start(t)
	operator := mototest.EnforceIAM(t, moto)
	for _, c := range []struct {
		policy, region string
		verbs          func(things) [][]string
	}{
		{"promote", "eu-west-1", func(o things) [][]string {
			return [][]string{{"promote", o.old}, {"promote", o.young}, {"rollback", "--release", o.release, "--architecture", "amd64"}, {"list"}}
		}},
		{"sweep", "eu-west-2", func(things) [][]string { return [][]string{{"sweep", "--keep", "1", "--older-than", "0"}} }},
	} {
		t.Run(c.policy, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("..", "iam", c.policy+".json"))
			if err != nil {
				t.Fatal(err)
			}
			whole := strings.ReplaceAll(string(data), "ACCOUNT", "123456789012")
			for name, value := range mototest.Environment(moto, c.region) {
				t.Setenv(name, value)
			}
			// run has a user with that policy do all the verbs on things of her own.
			run := func(nth int, policy string) (string, error) {
				o := makeThings(t, mototest.EC2As(moto, c.region, operator), nth)
				if c.policy == "sweep" {
					// What a sweep takes away was launched once.
					runAs(t, operator, "promote", o.old)
					runAs(t, operator, "promote", o.young)
				}
				user := mototest.User(t, mototest.IAM(moto, operator), fmt.Sprintf("%s-%d", c.policy, nth), policy)
				var said strings.Builder
				var failed error
				for _, verb := range c.verbs(o) {
					text, err := tryAs(t, user, verb...)
					said.WriteString(text)
					failed = errors.Join(failed, err)
				}
				return said.String(), failed
			}
			if said, err := run(0, whole); err != nil {
				t.Fatalf("with the whole policy: %v\n%s", err, said)
			}
			less := mototest.Without(t, whole)
			for nth, action := range slices.Sorted(maps.Keys(less)) {
				said, err := run(1+nth, less[action])
				if err == nil || !strings.Contains(err.Error(), action) {
					t.Errorf("without %s: %v\n%s", action, err, said)
					continue
				}
				first, _, _ := strings.Cut(err.Error(), ": ")
				t.Logf("without %-38s %s", action, first)
			}
		})
	}
}

// things is what a sweep or a promotion finds.
type things struct{ release, old, young string }

// makeThings makes two images of a release of their own, a launch template, and all
// that a bake can leave.
func makeThings(t *testing.T, api *ec2.Client, nth int) things {
	t.Helper()
	o := things{release: fmt.Sprintf("release%d", nth)}
	made := func(kind, name, image string, tags ...string) string {
		t.Helper()
		id, err := makeThing(t.Context(), api, kind, fmt.Sprintf("%s-%d", name, nth), image)
		if err == nil && len(tags) > 0 {
			var all []types.Tag
			for _, tag := range tags {
				key, value, _ := strings.Cut(tag, "=")
				all = append(all, types.Tag{Key: aws.String("vpnami:" + key), Value: &value})
			}
			_, err = api.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: all})
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	image := []string{"version=0.1.0", "release=" + o.release, "architecture=amd64"}
	o.old = made("ami", "old", "", append(image, "build=20260901T000000Z")...)
	o.young = made("ami", "young", "", append(image, "build=20260908T000000Z")...)
	left := []string{"bake=old", "build=20260901T000000Z"}
	made("template", "template", o.young)
	made("instance", "instance", o.young, left...)
	made("volume", "volume", "", left...)
	made("group", "group", "", left...)
	made("key", "key", "", left...)
	made("snapshot", "snapshot", "", "version=0.1.0", "build=20260901T000000Z")
	return o
}

// tryAs runs a verb in this process as that user.
func tryAs(t *testing.T, user mototest.Keys, verb ...string) (string, error) {
	t.Helper()
	for _, v := range user.Environment() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	var said bytes.Buffer
	k := &keeper{out: &said, now: time.Now}
	command := k.command()
	if verb[0] != "list" {
		verb = append(verb, "--apply")
	}
	command.SetArgs(verb)
	err := command.ExecuteContext(t.Context())
	return said.String(), err
}

func runAs(t *testing.T, user mototest.Keys, verb ...string) {
	t.Helper()
	if said, err := tryAs(t, user, verb...); err != nil {
		t.Fatalf("%v: %v\n%s", verb, err, said)
	}
}
