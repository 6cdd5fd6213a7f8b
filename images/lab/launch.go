// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// LaunchSpec is an instance to launch in the article's subnet.
type LaunchSpec struct {
	Name           string     // Name tag; [a-z][a-z0-9-]{0,9}
	PrivateAddress netip.Addr // in 10.0.0.0/16
	PublicAddress  netip.Addr // in 203.0.113.0/24; zero: none
	// Prefixes are assigned to its interface beside its address; /28, as EC2 has it.
	Prefixes []netip.Prefix
	Groups   []string // security group ids
	UserData string
	Tags     map[string]string // beside Name

	// HopLimit is HttpPutResponseHopLimit, 1 when zero: the limit that our
	// launch module sets. Anything above lets a forwarded answer live on.
	HopLimit int32
	// OptionalToken lets IMDSv1 in as well (HttpTokens=optional).
	OptionalToken bool
	// MetadataTags serves the instance's tags in its metadata.
	MetadataTags bool
}

// Launch runs an instance and returns as soon as its machine was started;
// [Instance.WaitReady] waits for its first boot.
func (l *Lab) Launch(ctx context.Context, spec LaunchSpec) (*Instance, error) {
	if err := checkStationName(spec.Name); err != nil {
		return nil, fmt.Errorf("launching instance: %w", err)
	}
	client := ec2.NewFromConfig(l.AWS())
	tokens, tags := types.HttpTokensStateRequired, types.InstanceMetadataTagsStateDisabled
	if spec.OptionalToken {
		tokens = types.HttpTokensStateOptional
	}
	if spec.MetadataTags {
		tags = types.InstanceMetadataTagsStateEnabled
	}
	in := &ec2.RunInstancesInput{
		ImageId:          aws.String(l.state.VPC.Image),
		InstanceType:     types.InstanceTypeT3Micro,
		MinCount:         aws.Int32(1),
		MaxCount:         aws.Int32(1),
		KeyName:          aws.String(l.state.VPC.KeyName),
		SubnetId:         aws.String(l.state.VPC.Subnet),
		PrivateIpAddress: aws.String(spec.PrivateAddress.String()),
		SecurityGroupIds: spec.Groups,
		UserData:         aws.String(base64.StdEncoding.EncodeToString([]byte(spec.UserData))),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpTokens:              tokens,
			HttpPutResponseHopLimit: aws.Int32(max(spec.HopLimit, 1)),
			InstanceMetadataTags:    tags,
		},
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance,
			Tags:         tagList(spec.Name, spec.Tags),
		}},
	}
	spec.widen(in)
	out, err := client.RunInstances(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("launching instance %q: %w", spec.Name, err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	if spec.PublicAddress.IsValid() {
		if err := l.associate(ctx, client, id, spec.PublicAddress); err != nil {
			return nil, fmt.Errorf("launching instance %q: %w", spec.Name, err)
		}
	}
	return l.waitMachine(ctx, id)
}

// widen asks for an interface with more than one address, which EC2 takes in the place
// of what is said of an instance's own.
func (s LaunchSpec) widen(in *ec2.RunInstancesInput) {
	if len(s.Prefixes) == 0 {
		return
	}
	nic := types.InstanceNetworkInterfaceSpecification{DeviceIndex: aws.Int32(0), SubnetId: in.SubnetId, PrivateIpAddress: in.PrivateIpAddress, Groups: in.SecurityGroupIds}
	for _, prefix := range s.Prefixes {
		nic.Ipv4Prefixes = append(nic.Ipv4Prefixes, types.Ipv4PrefixSpecificationRequest{Ipv4Prefix: aws.String(prefix.String())})
	}
	in.SubnetId, in.PrivateIpAddress, in.SecurityGroupIds = nil, nil, nil
	in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{nic}
}

func (l *Lab) associate(ctx context.Context, client *ec2.Client, id string, public netip.Addr) error {
	// moto gives the address that is asked for; EC2 has it from a pool of one's own (BYOIP).
	address, err := client.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc, Address: aws.String(public.String())})
	if err != nil {
		return fmt.Errorf("allocating public address %s: %w", public, err)
	}
	_, err = client.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: address.AllocationId, InstanceId: aws.String(id)})
	if err != nil {
		return fmt.Errorf("associating public address %s: %w", public, err)
	}
	return nil
}

// waitMachine waits for the agent, which starts a machine for each instance
// that EC2 has.
func (l *Lab) waitMachine(ctx context.Context, id string) (*Instance, error) {
	// Starting a machine takes some 50 ms; a machine that is not there after
	// half a minute never comes.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		i, err := l.Instance(ctx, id)
		if err == nil && i.machine.Error != "" {
			return nil, fmt.Errorf("starting the machine of instance %q: %s", id, i.machine.Error)
		}
		if err == nil && i.machine.Running {
			return i, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the machine of instance %q (see %s): %w", id, l.LogDir(), errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Terminate ends the instance in EC2 and removes its machine and its disk.
func (i *Instance) Terminate(ctx context.Context) error {
	client := ec2.NewFromConfig(i.lab.AWS())
	if _, err := client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{i.machine.ID}}); err != nil {
		return fmt.Errorf("terminating instance %q: %w", i.machine.Name, err)
	}
	return nil
}

func tagList(name string, tags map[string]string) []types.Tag {
	list := []types.Tag{{Key: aws.String("Name"), Value: aws.String(name)}}
	for k, v := range tags {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return list
}
