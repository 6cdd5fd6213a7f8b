// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// awsConfig makes SDK clients that reach the API from that namespace.
func awsConfig(ns namespace, keys Keys) aws.Config { return awsConfigAt(ns, endpointURL, keys) }

func awsConfigAt(ns namespace, url string, keys Keys) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(url),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: keys.ID, SecretAccessKey: keys.Secret, SessionToken: keys.Token, Source: "lab"}, nil
		}),
		HTTPClient: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return ns.dial(ctx, network, address)
			},
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     10 * time.Second,
		}},
	}
}

// cloud reads from EC2 what the agent brings into force.
type cloud struct {
	ec2 *ec2.Client
	iam *iam.Client
	sts *sts.Client
}

func newCloud(config aws.Config) cloud {
	return cloud{ec2: ec2.NewFromConfig(config), iam: iam.NewFromConfig(config), sts: sts.NewFromConfig(config)}
}

// snapshot is one look at EC2.
type snapshot struct {
	instances   []types.Instance // not the terminated ones
	vpcs        map[string][]netip.Prefix
	subnets     map[string]netip.Prefix
	groups      map[string]group
	tables      []types.RouteTable
	groupNames  map[string]string
	prefixLists map[string][]netip.Prefix
}

func (c cloud) look(ctx context.Context) (snapshot, error) {
	s := snapshot{vpcs: map[string][]netip.Prefix{}, subnets: map[string]netip.Prefix{}, groups: map[string]group{},
		groupNames: map[string]string{}, prefixLists: map[string][]netip.Prefix{}}
	instances, err := c.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil {
		return s, fmt.Errorf("reading instances: %w", err)
	}
	for _, r := range instances.Reservations {
		for _, i := range r.Instances {
			if i.State.Name != types.InstanceStateNameTerminated && i.State.Name != types.InstanceStateNameShuttingDown && len(i.NetworkInterfaces) > 0 {
				s.instances = append(s.instances, i)
			}
		}
	}
	vpcs, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	if err != nil {
		return s, fmt.Errorf("reading VPCs: %w", err)
	}
	for _, v := range vpcs.Vpcs {
		for _, a := range v.CidrBlockAssociationSet {
			s.vpcs[aws.ToString(v.VpcId)] = append(s.vpcs[aws.ToString(v.VpcId)], prefixes(aws.ToString(a.CidrBlock))...)
		}
	}
	subnets, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return s, fmt.Errorf("reading subnets: %w", err)
	}
	for _, n := range subnets.Subnets {
		if p := prefixes(aws.ToString(n.CidrBlock)); p != nil {
			s.subnets[aws.ToString(n.SubnetId)] = p[0]
		}
	}
	tables, err := c.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})
	if err != nil {
		return s, fmt.Errorf("reading route tables: %w", err)
	}
	s.tables = tables.RouteTables
	return s, c.lookGroups(ctx, &s)
}

func (c cloud) lookGroups(ctx context.Context, s *snapshot) error {
	groups, err := c.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return fmt.Errorf("reading security groups: %w", err)
	}
	for _, g := range groups.SecurityGroups {
		for _, p := range append(g.IpPermissions, g.IpPermissionsEgress...) {
			for _, l := range p.PrefixListIds {
				if err := c.lookPrefixList(ctx, s, aws.ToString(l.PrefixListId)); err != nil {
					return err
				}
			}
		}
		id := aws.ToString(g.GroupId)
		s.groupNames[id] = aws.ToString(g.GroupName)
		s.groups[id] = group{Ingress: s.permissions(g.IpPermissions), Egress: s.permissions(g.IpPermissionsEgress)}
	}
	return nil
}

func (c cloud) lookPrefixList(ctx context.Context, s *snapshot, id string) error {
	if _, known := s.prefixLists[id]; known {
		return nil
	}
	entries, err := c.ec2.GetManagedPrefixListEntries(ctx, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: aws.String(id)})
	if err != nil {
		return fmt.Errorf("reading prefix list %q: %w", id, err)
	}
	s.prefixLists[id] = []netip.Prefix{}
	for _, e := range entries.Entries {
		s.prefixLists[id] = append(s.prefixLists[id], prefixes(aws.ToString(e.Cidr))...)
	}
	return nil
}

func (s snapshot) permissions(list []types.IpPermission) []permission {
	var out []permission
	for _, p := range list {
		perm := permission{Protocol: aws.ToString(p.IpProtocol), From: -1, To: -1}
		if p.FromPort != nil {
			perm.From = *p.FromPort
		}
		if p.ToPort != nil {
			perm.To = *p.ToPort
		}
		for _, r := range p.IpRanges {
			perm.CIDRs = append(perm.CIDRs, prefixes(aws.ToString(r.CidrIp))...)
		}
		for _, l := range p.PrefixListIds {
			perm.CIDRs = append(perm.CIDRs, s.prefixLists[aws.ToString(l.PrefixListId)]...)
		}
		for _, g := range p.UserIdGroupPairs {
			perm.Groups = append(perm.Groups, aws.ToString(g.GroupId))
		}
		out = append(out, perm)
	}
	return out
}

// network is the snapshot as the fabric takes it. names gives each instance
// its station; one that has none is left out.
func (s snapshot) network(names map[string]string) network {
	n := network{Groups: s.groups, Tables: map[string][]vpcRoute{}}
	seen := map[string]bool{}
	for _, i := range s.instances {
		name, ok := names[aws.ToString(i.InstanceId)]
		if !ok {
			continue
		}
		nic := i.NetworkInterfaces[0]
		p := port{
			Name:      name,
			Interface: aws.ToString(nic.NetworkInterfaceId),
			Instance:  aws.ToString(i.InstanceId),
			Subnet:    aws.ToString(nic.SubnetId),
			Public:    map[netip.Addr]netip.Addr{},
			// moto keeps the instance's attribute and the interface's apart;
			// EC2 has one: what was set on either counts.
			SourceCheck: aws.ToBool(i.SourceDestCheck) && aws.ToBool(nic.SourceDestCheck),
		}
		for _, a := range nic.PrivateIpAddresses {
			private, err := netip.ParseAddr(aws.ToString(a.PrivateIpAddress))
			if err != nil {
				continue
			}
			p.Addresses = append(p.Addresses, private)
			if a.Association == nil {
				continue
			}
			if public, err := netip.ParseAddr(aws.ToString(a.Association.PublicIp)); err == nil {
				p.Public[private] = public
			}
		}
		for _, assigned := range nic.Ipv4Prefixes {
			p.Prefixes = append(p.Prefixes, prefixes(aws.ToString(assigned.Ipv4Prefix))...)
		}
		for _, g := range nic.Groups {
			p.Groups = append(p.Groups, aws.ToString(g.GroupId))
		}
		n.Ports = append(n.Ports, p)
		if vpc := aws.ToString(nic.VpcId); !seen[vpc] {
			seen[vpc] = true
			n.CIDRs = append(n.CIDRs, s.vpcs[vpc]...)
		}
		n.Tables[p.Subnet] = s.routes(aws.ToString(nic.VpcId), p.Subnet)
	}
	return n
}

// routes are those of the table that the subnet is associated with, or of
// the VPC's main table.
func (s snapshot) routes(vpc, subnet string) []vpcRoute {
	var main, own *types.RouteTable
	for k, t := range s.tables {
		if aws.ToString(t.VpcId) != vpc {
			continue
		}
		for _, a := range t.Associations {
			if aws.ToBool(a.Main) {
				main = &s.tables[k]
			}
			if aws.ToString(a.SubnetId) == subnet {
				own = &s.tables[k]
			}
		}
	}
	if own == nil {
		own = main
	}
	if own == nil {
		return nil
	}
	var routes []vpcRoute
	for _, r := range own.Routes {
		target := aws.ToString(r.GatewayId)
		for _, t := range []*string{r.NetworkInterfaceId, r.InstanceId} {
			if aws.ToString(t) != "" {
				target = aws.ToString(t)
			}
		}
		for _, d := range prefixes(aws.ToString(r.DestinationCidrBlock)) {
			if target != "local" {
				routes = append(routes, vpcRoute{Destination: d, Target: target})
			}
		}
	}
	return routes
}

// userData reads what the instance was launched with.
func (c cloud) userData(ctx context.Context, id string) ([]byte, error) {
	out, err := c.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: aws.String(id), Attribute: types.InstanceAttributeNameUserData})
	if err != nil {
		return nil, fmt.Errorf("reading user-data of %q: %w", id, err)
	}
	if out.UserData == nil {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(aws.ToString(out.UserData.Value))
	if err != nil {
		return nil, fmt.Errorf("decoding user-data of %q: %w", id, err)
	}
	return data, nil
}

// prefixes parses one IPv4 prefix; what is none (IPv6, empty) gives none.
func prefixes(s string) []netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return nil
	}
	return []netip.Prefix{p.Masked()}
}
