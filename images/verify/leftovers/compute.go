// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package leftovers

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// terminationWait is how long an instance may take to end; AWS says minutes.
const terminationWait = 10 * time.Minute

func tagged() []types.Filter {
	return []types.Filter{{Name: aws.String("tag-key"), Values: []string{Tag}}}
}

func launch(tags []types.Tag) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == Tag {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

func reading(what string, err error) error {
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

func (p place) instances(ctx context.Context) (all []Leftover, err error) {
	for pages := ec2.NewDescribeInstancesPaginator(p.ec2, &ec2.DescribeInstancesInput{Filters: tagged()}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("instances", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.State != nil && i.State.Name == types.InstanceStateNameTerminated {
					continue
				}
				id := aws.ToString(i.InstanceId)
				all = append(all, Leftover{p.region, "instance", id, launch(i.Tags), func(ctx context.Context) error {
					if _, err := p.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
						return err
					}
					// Its interface and its groups are let go only then.
					return ec2.NewInstanceTerminatedWaiter(p.ec2).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, terminationWait)
				}})
			}
		}
	}
	return all, nil
}

func (p place) addresses(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: tagged()})
	if err != nil {
		return nil, reading("addresses", err)
	}
	for _, each := range out.Addresses {
		id := each.AllocationId
		all = append(all, Leftover{p.region, "address", aws.ToString(id), launch(each.Tags), func(ctx context.Context) error {
			_, err := p.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: id})
			return err
		}})
	}
	return all, nil
}

func (p place) interfaces(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: tagged()})
	if err != nil {
		return nil, reading("network interfaces", err)
	}
	for _, each := range out.NetworkInterfaces {
		id := each.NetworkInterfaceId
		all = append(all, Leftover{p.region, "network interface", aws.ToString(id), launch(each.TagSet), func(ctx context.Context) error {
			_, err := p.ec2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: id})
			return err
		}})
	}
	return all, nil
}

// groups come twice: they name each other in their rules, which go first.
func (p place) groups(ctx context.Context) ([]Leftover, error) {
	var rules, groups []Leftover
	for pages := ec2.NewDescribeSecurityGroupsPaginator(p.ec2, &ec2.DescribeSecurityGroupsInput{Filters: tagged()}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("security groups", err)
		}
		for _, g := range page.SecurityGroups {
			if aws.ToString(g.GroupName) == "default" {
				continue // it ends with its VPC
			}
			id, of := g.GroupId, launch(g.Tags)
			if len(g.IpPermissions) > 0 {
				rules = append(rules, Leftover{p.region, "ingress of security group", aws.ToString(id), of, func(ctx context.Context) error {
					_, err := p.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: id, IpPermissions: g.IpPermissions})
					return err
				}})
			}
			if len(g.IpPermissionsEgress) > 0 {
				rules = append(rules, Leftover{p.region, "egress of security group", aws.ToString(id), of, func(ctx context.Context) error {
					_, err := p.ec2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: id, IpPermissions: g.IpPermissionsEgress})
					return err
				}})
			}
			groups = append(groups, Leftover{p.region, "security group", aws.ToString(id), of, func(ctx context.Context) error {
				_, err := p.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: id})
				return err
			}})
		}
	}
	return append(rules, groups...), nil
}

func (p place) subnets(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: tagged()})
	if err != nil {
		return nil, reading("subnets", err)
	}
	for _, each := range out.Subnets {
		id := each.SubnetId
		all = append(all, Leftover{p.region, "subnet", aws.ToString(id), launch(each.Tags), func(ctx context.Context) error {
			_, err := p.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: id})
			return err
		}})
	}
	return all, nil
}

func (p place) tables(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: tagged()})
	if err != nil {
		return nil, reading("route tables", err)
	}
	for _, each := range out.RouteTables {
		id := each.RouteTableId
		all = append(all, Leftover{p.region, "route table", aws.ToString(id), launch(each.Tags), func(ctx context.Context) error {
			for _, with := range each.Associations {
				if _, err := p.ec2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: with.RouteTableAssociationId}); err != nil && !isGone(err) {
					return err
				}
			}
			_, err := p.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: id})
			return err
		}})
	}
	return all, nil
}

func (p place) gateways(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: tagged()})
	if err != nil {
		return nil, reading("internet gateways", err)
	}
	for _, each := range out.InternetGateways {
		id := each.InternetGatewayId
		all = append(all, Leftover{p.region, "internet gateway", aws.ToString(id), launch(each.Tags), func(ctx context.Context) error {
			for _, to := range each.Attachments {
				if _, err := p.ec2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: id, VpcId: to.VpcId}); err != nil && !isGone(err) {
					return err
				}
			}
			_, err := p.ec2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: id})
			return err
		}})
	}
	return all, nil
}

func (p place) vpcs(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: tagged()})
	if err != nil {
		return nil, reading("VPCs", err)
	}
	for _, each := range out.Vpcs {
		id := each.VpcId
		all = append(all, Leftover{p.region, "VPC", aws.ToString(id), launch(each.Tags), func(ctx context.Context) error {
			_, err := p.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: id})
			return err
		}})
	}
	return all, nil
}

func (p place) keys(ctx context.Context) (all []Leftover, err error) {
	out, err := p.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: tagged()})
	if err != nil {
		return nil, reading("key pairs", err)
	}
	for _, each := range out.KeyPairs {
		name := each.KeyName
		all = append(all, Leftover{p.region, "key pair", aws.ToString(name), launch(each.Tags), func(ctx context.Context) error {
			_, err := p.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: name})
			return err
		}})
	}
	return all, nil
}
