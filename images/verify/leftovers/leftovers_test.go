// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package leftovers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

const (
	tokyo   = "ap-northeast-1"
	ireland = "eu-west-1"
)

func at(endpoint, region string) Account {
	return Open(aws.Config{Region: region, BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// launched makes of a verification in a region what tells of it here: a machine, and a
// role, a profile and a policy that say which region that is.
func launched(t *testing.T, a Account, name string) {
	t.Helper()
	region := a.cfg.Region
	ec2Tags := []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String(Tag), Value: &name}}}}
	tags := []iamtypes.Tag{{Key: aws.String(Tag), Value: &name}, {Key: aws.String(RegionTag), Value: &region}}
	document, thing := aws.String(`{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}`), aws.String(name+"-gateway")
	_, err := a.in(region).ec2.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String(mototest.Image), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), TagSpecifications: ec2Tags})
	if err == nil {
		_, err = a.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: thing, AssumeRolePolicyDocument: document, Tags: tags})
	}
	if err == nil {
		_, err = a.iam.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: thing, Tags: tags})
	}
	if err == nil {
		_, err = a.iam.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: thing, RoleName: thing})
	}
	if err == nil {
		_, err = a.iam.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: thing, PolicyDocument: document, Tags: tags})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kinds are those of what is left of a launch.
func kinds(t *testing.T, a Account, before time.Time, launch string) string {
	t.Helper()
	all, err := a.Find(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, l := range all {
		if l.Launch == launch {
			kinds = append(kinds, l.Kind)
		}
	}
	return strings.Join(kinds, ", ")
}

// TestTwoRegions: a verification is ended whole, by a run in whatever region, or not at
// all.
func TestTwoRegions(t *testing.T) {
	endpoint, now := mototest.Start(t), time.Now()
	here, there := at(endpoint, tokyo), at(endpoint, ireland)
	killed, running, own := Name(now.Add(-4*time.Hour)), Name(now.Add(-time.Minute)), Name(now.Add(-5*time.Hour))
	launched(t, there, killed)
	launched(t, there, running)
	launched(t, here, own)
	const whole = "instance, instance profile, role, policy"
	limit := now.Add(-3 * time.Hour)

	var told []string
	end := func(t *testing.T, a Account) {
		t.Helper()
		told = nil
		if err := a.End(t.Context(), limit, own, func(what string) { told = append(told, what) }); err != nil {
			t.Error(err)
		}
	}
	t.Run("what cannot be ended there keeps what tells of it here", func(t *testing.T) {
		end(t, at(mototest.Refusing(t, endpoint, "TerminateInstances", "UnauthorizedOperation"), tokyo))
		if got := kinds(t, here, limit, killed); got != whole {
			t.Errorf("left are %q, want %q", got, whole)
		}
		if !slices.ContainsFunc(told, func(what string) bool {
			return strings.Contains(what, " of "+killed+" in "+ireland+": ") && strings.Contains(what, "UnauthorizedOperation")
		}) {
			t.Errorf("told: %q", told)
		}
	})
	t.Run("a run elsewhere ends it all", func(t *testing.T) {
		end(t, here)
		if got := kinds(t, there, limit, killed); got != "" {
			t.Errorf("left are %s", got)
		}
		if len(told) != 4 {
			t.Errorf("told: %q", told)
		}
	})
	t.Run("but neither what runs there nor what it goes on with itself", func(t *testing.T) {
		if got := kinds(t, there, now, running); got != whole {
			t.Errorf("of what runs %q are there, want %q", got, whole)
		}
		if got := kinds(t, here, limit, own); got != whole {
			t.Errorf("of its own %q are there, want %q", got, whole)
		}
	})
	t.Run("nor what tells of a region that cannot be looked at", func(t *testing.T) {
		lost := Name(now.Add(-6 * time.Hour))
		if _, err := here.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String(lost + "-gateway"), AssumeRolePolicyDocument: aws.String("{}"),
			Tags: []iamtypes.Tag{{Key: aws.String(RegionTag), Value: aws.String("no region")}}}); err != nil {
			t.Fatal(err)
		}
		end(t, here)
		if len(told) != 1 || !strings.Contains(told[0], "there is something left in no region, which cannot be looked at") {
			t.Errorf("told: %q", told)
		}
		if _, err := here.iam.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String(lost + "-gateway")}); err != nil {
			t.Error(err)
		}
	})
}

// TestHalfEndedByAnother: what another run has taken off a thing since it was found keeps
// nobody from ending the thing itself.
func TestHalfEndedByAnother(t *testing.T) {
	endpoint, now := mototest.Start(t), time.Now()
	a := at(endpoint, tokyo)
	client, killed := a.in(tokyo).ec2, Name(now.Add(-4*time.Hour))
	tags := func(of types.ResourceType) []types.TagSpecification {
		return []types.TagSpecification{{ResourceType: of, Tags: []types.Tag{{Key: aws.String(Tag), Value: &killed}}}}
	}
	launched(t, a, killed)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vpc, err := client.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tags(types.ResourceTypeVpc)})
	check(err)
	subnet, err := client.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24"), TagSpecifications: tags(types.ResourceTypeSubnet)})
	check(err)
	table, err := client.CreateRouteTable(t.Context(), &ec2.CreateRouteTableInput{VpcId: vpc.Vpc.VpcId, TagSpecifications: tags(types.ResourceTypeRouteTable)})
	check(err)
	association, err := client.AssociateRouteTable(t.Context(), &ec2.AssociateRouteTableInput{RouteTableId: table.RouteTable.RouteTableId, SubnetId: subnet.Subnet.SubnetId})
	check(err)
	gateway, err := client.CreateInternetGateway(t.Context(), &ec2.CreateInternetGatewayInput{TagSpecifications: tags(types.ResourceTypeInternetGateway)})
	check(err)
	_, err = client.AttachInternetGateway(t.Context(), &ec2.AttachInternetGatewayInput{VpcId: vpc.Vpc.VpcId, InternetGatewayId: gateway.InternetGateway.InternetGatewayId})
	check(err)

	found, err := a.Find(t.Context(), now)
	check(err)

	_, err = client.DisassociateRouteTable(t.Context(), &ec2.DisassociateRouteTableInput{AssociationId: association.AssociationId})
	check(err)
	_, err = client.DetachInternetGateway(t.Context(), &ec2.DetachInternetGatewayInput{VpcId: vpc.Vpc.VpcId, InternetGatewayId: gateway.InternetGateway.InternetGatewayId})
	check(err)
	thing := aws.String(killed + "-gateway")
	_, err = a.iam.RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: thing, RoleName: thing})
	check(err)

	for _, l := range found {
		if err := l.end(t.Context()); err != nil {
			t.Errorf("ending %s: %v", l, err)
		}
	}
	if left := kinds(t, a, now, killed); left != "" {
		t.Errorf("left are %s", left)
	}
}

func TestLaunchOf(t *testing.T) {
	name := Name(time.Date(2026, 11, 26, 8, 32, 0, 0, time.UTC))
	want := map[string]string{name: name, name + "-gateway": name, name + "/access": name, "vpn-gateway": "", "verify-": "", "verify-me-and-all-the-others": "", "my-" + name: ""}
	for text, want := range want {
		if got, _, ok := launchOf(text); ok != (want != "") || ok && got != want {
			t.Errorf("%q is of %q (%v), want %q", text, got, ok, want)
		}
	}
}
