// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package iam

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

const (
	account = "123456789012"
	// copyTo is a region that the AMI is copied to.
	copyTo = "us-east-1"
	// twoDisks is a source image of the account's own, whose second disk outlives the
	// machine.
	twoDisks = "ubuntu-with-a-second-disk"
)

// lack is what becomes of a bake that lacks one right.
type lack struct {
	right string // Sid/action
	says  string // the step, as Packer names it
	vars  []string
	// complains: the image is made all the same.
	complains bool
	// waits: Packer goes on waiting for minutes, and is interrupted.
	waits bool
	// breaks: the first session ends by itself.
	breaks bool
	// untold is why: Packer keeps AWS's answer to itself.
	untold bool
	// leavesCopy is what a sweep of the other region ends.
	leavesCopy bool
}

// beforeTheGuest are the rights without which a bake ends before it reaches its guest.
func beforeTheGuest() []lack {
	return []lack{
		{right: "Look/ec2:DescribeRegions", says: "error validating regions"},
		{right: "Look/ec2:DescribeVpcs", says: "Error retrieving VPC information"},
		{right: "Look/ec2:DescribeImages", says: "Error querying AMI"},
		{right: "Look/ec2:DescribeSubnets", says: "Describing the subnet", vars: []string{"subnet_id=SUBNET"}},
		{right: "MakeForTheBake/ec2:CreateKeyPair", says: "Error creating temporary keypair"},
		{right: "MakeForTheBake/ec2:CreateSecurityGroup", says: "Creating temporary security group"},
		{right: "Look/ec2:DescribeSecurityGroups", says: "Timed out waiting for security group"},
		{right: "RemoveWhatTheBakeMade/ec2:AuthorizeSecurityGroupIngress", says: "Error authorizing temporary security group"},
		{right: "MakeForTheBake/ec2:RunInstances", says: "Error launching source instance"},
		{right: "Look/ec2:DescribeInstances", says: "Error waiting for instance"},
		// The first that is made with tags is the key.
		{right: "TagWhatIsMade/ec2:CreateTags", says: "Error creating temporary keypair"},
	}
}

// withTheGuest are those that a bake needs for its guest, the AMI, or afterwards.
func withTheGuest() []lack {
	// An account that is none: the bake fails when it has the AMI, and removes it.
	failing := []string{`share_with=["nobody"]`}
	return []lack{
		{right: "Look/ec2:DescribeInstanceTypeOfferings", says: "Failed to filter subnets/AZ", complains: true},
		{right: "RemoveWhatTheBakeMade/ec2:StopInstances", says: "Error stopping instance"},
		{right: "OfTheBakesOwnInstance/ec2:ModifyInstanceAttribute", says: "Error enabling Enhanced Networking (ENA)"},
		{right: "OfTheBakesOwnInstance/ec2:CreateImage", says: "Error creating AMI"},
		{right: "MakeTheImage/ec2:CreateImage", says: "Error creating AMI"},
		{right: "MakeTheImage/ec2:CopyImage", says: "Error Copying AMI"},
		{right: "KeepTheImage/ec2:EnableImageDeprecation", says: "Error enable AMI deprecation", leavesCopy: true},
		{right: "KeepTheImage/ec2:EnableImageDeregistrationProtection", says: "failed to enable AMI deregistration protection", leavesCopy: true},
		{right: "KeepTheImage/ec2:ModifyImageAttribute", says: "Error modify AMI attributes", leavesCopy: true},
		{right: "TagTheImageAndItsCopies/ec2:CreateTags", says: "Error adding tags to Resources", leavesCopy: true},
		{right: "RemoveWhatFailed/ec2:DeregisterImage", says: "Error deregistering existing AMI", vars: failing},
		{right: "RemoveWhatFailed/ec2:DeleteSnapshot", says: "Error deleting existing snapshot", vars: failing},
		{right: "RemoveWhatTheBakeMade/ec2:TerminateInstances", says: "Error terminating instance, may still be around", complains: true},
		{right: "Look/ec2:DescribeVolumes", says: "Error describing volumes", complains: true},
		{right: "RemoveWhatTheBakeMade/ec2:DeleteVolume", says: "Error deleting volume", complains: true},
		{right: "RemoveWhatTheBakeMade/ec2:DeleteSecurityGroup", says: "Error cleaning up security group", complains: true},
		{right: "RemoveWhatTheBakeMade/ec2:DeleteKeyPair", says: "Error cleaning up keypair", complains: true, untold: true},
	}
}

// bySession are the rights of session.json, which a bake by session manager needs
// beside those of bake.json.
func bySession() []lack {
	return []lack{
		{right: "FindTheProfile/iam:GetInstanceProfile", says: "Couldn't find specified instance profile"},
		{right: "GiveItToTheBakesInstance/iam:PassRole", says: "Error launching source instance"},
		{right: "ToTheBakesOwnInstance/ssm:StartSession", says: "ssm error", waits: true},
		{right: "ForNoMoreThanAPort/ssm:StartSession", says: "ssm error", waits: true},
		{right: "Look/ec2:DescribeInstanceStatus", says: "ssm: Error describing instance status", complains: true},
		// At its own end Packer asks in a context that is over, and AWS never hears of it
		// (1.8.2 of the plugin for Amazon); it does where a session breaks off.
		{right: "OfItsOwnSession/ssm:TerminateSession", says: "Error terminating SSM Session", breaks: true, complains: true},
	}
}

func rights(rows []lack) (all []string) {
	for _, l := range rows {
		all = append(all, l.right)
	}
	return all
}

// notHere are rights that no stand-in asks for.
func notHere() map[string]string {
	return map[string]string{
		"OfItsOwnSession/ssmmessages:OpenDataChannel": "AWS's session-manager-plugin asks for it when it opens its stream to the instance, and there is no stand-in for that stream: a port is forwarded in its place",
	}
}

// TestBakePolicies: the template bakes an AMI with the rights of bake.json alone, by
// session manager with those of session.json as well, and without any one of them a
// step of Packer's fails and says so. What Packer and the plugin for Amazon are is
// real; the AMI is of a guest on this machine.
func TestBakePolicies(t *testing.T) {
	b := newBench(t)
	bake, session := shipped(t, "bake.json"), shipped(t, "session.json")
	mototest.CheckTable(t, bake, rights(append(beforeTheGuest(), withTheGuest()...)), nil)
	mototest.CheckTable(t, session, rights(bySession()), notHere())

	everything := []string{
		`copy_to=["` + copyTo + `"]`, "deprecate_at=2099-06-30T00:00:00Z", "deregistration_protection=true",
		"vpc_id=" + b.vpc, "public_address=true", "source_owners=[\"" + account + "\"]", "source_name=" + twoDisks,
	}
	bySessionManager := []string{"ssh_interface=session_manager", "instance_profile=" + b.profile, "ssh_from=[]"}
	t.Run("with all of them", func(t *testing.T) {
		said, err := b.packer(t, []string{bake}, lack{vars: everything})
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if n := b.unfinished(t); n > 0 {
			t.Errorf("%d copies are left for unfinished", n)
		}
		for _, l := range append(beforeTheGuest(), withTheGuest()...) {
			if strings.HasPrefix(l.says, "Err") && strings.Contains(said, l.says) {
				t.Errorf("it says %q:\n%s", l.says, said)
			}
		}
	})
	t.Run("with all of them, by session manager", func(t *testing.T) {
		if said, err := b.packer(t, []string{bake, session}, lack{vars: bySessionManager}); err != nil || strings.Contains(said, "not authorized") {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Run("with one less", func(t *testing.T) {
		// What fails before the guest does not disturb whoever has it; two of those are
		// tried again by Packer, for more than two minutes.
		for _, l := range beforeTheGuest() {
			t.Run(l.right, func(t *testing.T) {
				t.Parallel()
				b.lacking(t, bake, nil, l, everything)
			})
		}
		t.Run("with the guest", func(t *testing.T) {
			t.Parallel()
			for _, l := range withTheGuest() {
				t.Run(l.right, func(t *testing.T) { b.lacking(t, bake, nil, l, everything) })
			}
			for _, l := range bySession() {
				t.Run(l.right, func(t *testing.T) { b.lacking(t, session, []string{bake}, l, bySessionManager) })
			}
		})
	})
}

// bench is the account and the guest of the bakes.
type bench struct {
	endpoint, images string
	operator         mototest.Keys
	port             int
	env              []string
	users            atomic.Int64 // that were made

	vpc, subnet, profile string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	images, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	guest := amitest.StartGuest(t, filepath.Join(os.Getenv("VPNAMI_IMAGE"), "root.tar"))
	b := &bench{endpoint: mototest.Start(t), images: images, port: guest.Port, profile: "PROFILE"}
	b.operator = mototest.EnforceIAM(t, b.endpoint)
	b.env = append(os.Environ(), "PACKER_LOG=1", "PATH="+sessionManagerPlugin(t)+":"+os.Getenv("PATH"), fmt.Sprint(guestPort, "=", guest.Port))
	b.env = append(b.env, mototest.Environ(b.endpoint, amitest.Region)...)
	b.makeSource(t)
	b.makeProfile(t)
	return b
}

func (b *bench) ec2() *ec2.Client { return mototest.EC2As(b.endpoint, amitest.Region, b.operator) }

// makeSource makes the image with two disks, and finds where bakes run.
func (b *bench) makeSource(t *testing.T) {
	t.Helper()
	api := b.ec2()
	disk := func(path string, outlives bool) types.BlockDeviceMapping {
		return types.BlockDeviceMapping{DeviceName: &path, Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(8), DeleteOnTermination: aws.Bool(!outlives)}}
	}
	run, err := api.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId: aws.String(mototest.Image), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: types.InstanceTypeT3Small,
		BlockDeviceMappings: []types.BlockDeviceMapping{disk("/dev/sda1", false), disk("/dev/sdf", true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	machine := run.Instances[0]
	b.vpc, b.subnet = aws.ToString(machine.VpcId), aws.ToString(machine.SubnetId)
	if _, err := api.CreateImage(t.Context(), &ec2.CreateImageInput{InstanceId: machine.InstanceId, Name: aws.String(twoDisks)}); err != nil {
		t.Fatal(err)
	}
}

// makeProfile makes the instance profile that session manager needs.
func (b *bench) makeProfile(t *testing.T) {
	t.Helper()
	client := mototest.IAM(b.endpoint, b.operator)
	trust := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]}`
	if _, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("ROLE"), AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: &b.profile}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &b.profile, RoleName: aws.String("ROLE")}); err != nil {
		t.Fatal(err)
	}
}

// lacking takes one right away. The other policies stay whole.
func (b *bench) lacking(t *testing.T, policy string, others []string, l lack, vars []string) {
	t.Helper()
	began := time.Now()
	all := mototest.Each(t, policy)
	i := slices.IndexFunc(all, func(less mototest.Less) bool { return less.Right() == l.right })
	if i < 0 {
		return // which the table was failed for
	}
	for _, v := range l.vars {
		vars = append(vars[:len(vars):len(vars)], strings.ReplaceAll(v, "SUBNET", b.subnet))
	}
	l.vars = vars
	unfinished := b.unfinished(t)
	said, err := b.packer(t, append([]string{all[i].Policy}, others...), l)
	told := l.untold || strings.Contains(said, "not authorized to perform: "+all[i].Action)
	if (err == nil) != l.complains || !strings.Contains(said, l.says) || !told {
		t.Errorf("without %s, Packer ends with %v, and is to say %q:\n%s", l.right, err, l.says, said)
		return
	}
	if left := b.unfinished(t) - unfinished; l.leavesCopy && left != 1 {
		t.Errorf("without %s, %d copies are left that tell that their bake failed, want one", l.right, left)
	}
	how := "fails"
	if l.complains {
		how = "complains"
	}
	t.Logf("without %-60s %-9s %s (%.0f s)", l.right, how, line(said, l.says), time.Since(began).Seconds())
}

// unfinished counts the copies by whose tags vpnami-images knows that their bake did not
// come to its end: those of its machine, without those of the finished image.
func (b *bench) unfinished(t *testing.T) int {
	t.Helper()
	out, err := mototest.EC2As(b.endpoint, copyTo, b.operator).DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, i := range out.Images {
		has := func(key string) bool {
			return slices.ContainsFunc(i.Tags, func(tag types.Tag) bool { return aws.ToString(tag.Key) == key })
		}
		if has("vpnami:bake") && has("vpnami:version") && has("vpnami:build") && !has("vpnami:source-ami") {
			n++
		}
	}
	return n
}

// packer bakes with those policies and no other.
func (b *bench) packer(t *testing.T, policies []string, l lack) (string, error) {
	t.Helper()
	client, name := mototest.IAM(b.endpoint, b.operator), fmt.Sprint("baker-", b.users.Add(1))
	user := mototest.User(t, client, name, policies[0])
	for i, policy := range policies[1:] {
		if _, err := client.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String(fmt.Sprint("further-", i)), PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	env := append(b.env[:len(b.env):len(b.env)], user.Environment()...)
	env = append(env, "PACKER_CACHE_DIR="+t.TempDir())
	if l.breaks {
		env = append(env, brokenSession+"="+filepath.Join(t.TempDir(), "first"))
	}
	bake := amitest.New(t, env, b.images, b.endpoint, b.ec2())
	bake.Port = b.port
	if l.waits {
		return bake.PackerUntil(t, l.says, l.vars...)
	}
	return bake.Packer(t, l.vars...)
}

// line is the first line with the words, as Packer says it to people.
func line(said, words string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, words) {
			_, text, _ := strings.Cut(line, words)
			text, _, _ = strings.Cut(words+text, ": operation error")
			return strings.TrimSpace(text)
		}
	}
	return words
}

// shipped is a policy as it is for that account, and for whoever has those sessions.
func shipped(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("ACCOUNT", account, "${aws:userid}", "operator").Replace(string(data))
}
