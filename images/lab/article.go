// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// makeArticleVPC makes in EC2 what the article clicks together: office-lan,
// its subnet, gateway, routes and the two security groups.
func makeArticleVPC(ctx context.Context, client *ec2.Client, publicKey []byte) (VPC, error) {
	var v VPC
	steps := []struct {
		what string
		do   func() error
	}{
		{"VPC office-lan", func() error {
			out, err := client.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(vpcNetwork), TagSpecifications: named(types.ResourceTypeVpc, "office-lan")})
			if err == nil {
				v.ID = aws.ToString(out.Vpc.VpcId)
			}
			return err
		}},
		{"subnet office-lan-subnet", func() error {
			out, err := client.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &v.ID, CidrBlock: aws.String(vpcNetwork),
				AvailabilityZone: aws.String(Region + "a"), TagSpecifications: named(types.ResourceTypeSubnet, "office-lan-subnet")})
			if err == nil {
				v.Subnet = aws.ToString(out.Subnet.SubnetId)
			}
			return err
		}},
		{"internet gateway office-inet-gw", func() error {
			out, err := client.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{TagSpecifications: named(types.ResourceTypeInternetGateway, "office-inet-gw")})
			if err != nil {
				return err
			}
			v.InternetGateway = aws.ToString(out.InternetGateway.InternetGatewayId)
			_, err = client.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: &v.InternetGateway, VpcId: &v.ID})
			return err
		}},
		{"route table route-office-lan", func() error { return makeRoutes(ctx, client, &v) }},
		{"security group vpn", func() error {
			// The consent tag lets firstboot take the SSH rule away.
			id, err := makeGroup(ctx, client, v.ID, "vpn", types.Tag{Key: aws.String("vpnami:consent"), Value: aws.String("seal-ssh")},
				ingress("udp", 1194, "0.0.0.0/0", "the VPN"), ingress("tcp", 22, "0.0.0.0/0", "until the VPN is up"))
			v.GroupVPN = id
			return err
		}},
		{"security group step", func() error {
			id, err := makeGroup(ctx, client, v.ID, "step", types.Tag{Key: aws.String("Name"), Value: aws.String("step")},
				ingress("tcp", 22, vpcNetwork, "from the LAN"))
			v.GroupStep = id
			return err
		}},
		{"key pair", func() error {
			v.KeyName = "lab"
			_, err := client.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: &v.KeyName, PublicKeyMaterial: publicKey})
			return err
		}},
		{"image", func() error {
			out, err := client.RegisterImage(ctx, &ec2.RegisterImageInput{Name: aws.String("vpnami"), Architecture: types.ArchitectureValuesX8664,
				RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm")})
			if err == nil {
				v.Image = aws.ToString(out.ImageId)
			}
			return err
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return v, fmt.Errorf("making %s in EC2: %w", s.what, err)
		}
	}
	return v, nil
}

func makeRoutes(ctx context.Context, client *ec2.Client, v *VPC) error {
	out, err := client.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &v.ID, TagSpecifications: named(types.ResourceTypeRouteTable, "route-office-lan")})
	if err != nil {
		return err
	}
	v.RouteTable = aws.ToString(out.RouteTable.RouteTableId)
	if _, err := client.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: &v.RouteTable, SubnetId: &v.Subnet}); err != nil {
		return err
	}
	_, err = client.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: &v.RouteTable, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: &v.InternetGateway})
	return err
}

func makeGroup(ctx context.Context, client *ec2.Client, vpc, name string, tag types.Tag, rules ...types.IpPermission) (string, error) {
	out, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("the article's group " + name), VpcId: &vpc,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: []types.Tag{tag}}}})
	if err != nil {
		return "", err
	}
	_, err = client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: out.GroupId, IpPermissions: rules})
	return aws.ToString(out.GroupId), err
}

func ingress(protocol string, port int32, cidr, why string) types.IpPermission {
	return types.IpPermission{IpProtocol: &protocol, FromPort: &port, ToPort: &port,
		IpRanges: []types.IpRange{{CidrIp: &cidr, Description: &why}}}
}

func named(kind types.ResourceType, name string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: kind, Tags: tagList(name, nil)}}
}
