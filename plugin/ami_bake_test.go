// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

// newAMIBake is a bake by the plugin of these sources.
func newAMIBake(t *testing.T, env []string, images, endpoint string) amitest.Bake {
	t.Helper()
	for name, value := range mototest.Environment(endpoint, amitest.Region) {
		env = append(env, name+"="+value)
	}
	installAmazon(t, env)
	return amitest.New(t, env, images, endpoint, mototest.EC2(endpoint, amitest.Region))
}

// bakeAMI bakes the AMI of the guest by the template in images: once with a package
// that is nowhere, so that the provisioner fails, and then for good.
func bakeAMI(t *testing.T, env []string, images string, g *amitest.Guest) {
	t.Helper()
	b := newAMIBake(t, env, images, mototest.Start(t))
	b.Port = g.Port

	said, err := b.Packer(t, `packages=["vpnami-no-such-package"]`)
	if err == nil || !strings.Contains(said, "vpnami-no-such-package") {
		t.Fatalf("a bake with a package that is nowhere: %v\n%s", err, said)
	}
	b.CheckNothingLeft(t)
	if made := b.Made(t); len(made) != 0 {
		t.Errorf("a failed bake made an AMI: %v", made)
	}
	if _, err := os.Stat(b.Artifacts); err == nil {
		t.Error("a failed bake says that it made something")
	}

	if said, err = b.Packer(t, "commit=abc1234"); err != nil {
		t.Fatalf("baking the AMI: %v\n%s", err, said)
	}
	t.Logf("share of the provisioner: %s", amitest.Share(said))
	b.CheckNothingLeft(t)
	if launched, err := b.EC2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil || len(launched.Reservations) != 2 {
		t.Errorf("two bakes launched %v, %v", launched, err)
	}
	b.CheckAMI(t)
	g.CheckBaked(t, b.Manifest)
	b.CheckPromoted(t)
}
