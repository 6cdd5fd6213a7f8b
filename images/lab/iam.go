// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/moto"
)

// Keys are credentials of the lab's AWS.
type Keys struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Token  string `json:"token,omitempty"` // of a role
}

// anybody is who makes the operator: moto asks nobody who he is until its IAM is
// enforced.
func anybody() Keys { return Keys{ID: "AKIALABLABLABLABLAB0", Secret: "lab"} }

// makeOperator makes the IAM user that the lab's hosts and the agent itself work
// as. He may do everything, as whoever launches does.
func (a *Agent) makeOperator(ctx context.Context) error {
	const name, everything = "operator", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`
	client := iam.NewFromConfig(awsConfigAt(a.topology.aws, motoURL, anybody()))
	if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(name)}); err != nil {
		return fmt.Errorf("making IAM user %q: %w", name, err)
	}
	if _, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String(name), PolicyName: aws.String("everything"), PolicyDocument: aws.String(everything)}); err != nil {
		return fmt.Errorf("letting IAM user %q do everything: %w", name, err)
	}
	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String(name)})
	if err != nil {
		return fmt.Errorf("making an access key of IAM user %q: %w", name, err)
	}
	a.operator = Keys{ID: aws.ToString(made.AccessKey.AccessKeyId), Secret: aws.ToString(made.AccessKey.SecretAccessKey)}
	a.cloud = newCloud(awsConfigAt(a.topology.aws, motoURL, a.operator))
	return nil
}

// assume gets credentials for the role of an instance profile, as EC2 does for an
// instance that is launched with it.
func (c cloud) assume(ctx context.Context, profile, instance string) (role string, keys Keys, err error) {
	found, err := c.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(profile)})
	if err != nil {
		return "", Keys{}, fmt.Errorf("reading instance profile %q: %w", profile, err)
	}
	if len(found.InstanceProfile.Roles) == 0 {
		return "", Keys{}, nil // launched too early; it is looked at again
	}
	is := found.InstanceProfile.Roles[0]
	out, err := c.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: is.Arn, RoleSessionName: aws.String(instance)})
	if err != nil {
		return "", Keys{}, fmt.Errorf("assuming role %q for instance %q: %w", aws.ToString(is.Arn), instance, err)
	}
	return aws.ToString(is.RoleName), Keys{ID: aws.ToString(out.Credentials.AccessKeyId),
		Secret: aws.ToString(out.Credentials.SecretAccessKey), Token: aws.ToString(out.Credentials.SessionToken)}, nil
}

// EnforceIAM makes the lab's AWS judge every call from now on by the policies of
// whoever makes it. Until then everybody may do everything. Actions and resources
// count; of conditions, ec2:CreateAction alone.
func (l *Lab) EnforceIAM(ctx context.Context) error {
	ns := openNamespace(namespaceName(l.options.Name, "aws"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return ns.dial(ctx, network, address)
	}}}
	return moto.EnforceIAM(ctx, client, motoURL)
}
