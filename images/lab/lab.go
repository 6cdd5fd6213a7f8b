// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Region is where the lab's VPC is: the article's.
const Region = "ap-northeast-1"

// Engine is what runs an instance.
type Engine string

// The engines: a container with the image's own systemd boots in seconds, a
// whole machine with its own kernel in a minute (TCG).
const (
	Nspawn Engine = "nspawn"
	Qemu   Engine = "qemu"
)

// HostSpec is a host on the internet.
type HostSpec struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"` // in 198.51.100.0/24, .1 is the router
}

// Options is what a lab is made of. Name, Image and Program have no default.
type Options struct {
	Name         string     `json:"name"`          // [a-z][a-z0-9]{0,11}; part of every namespace's name
	Image        string     `json:"image"`         // folder with root.tar (nspawn) or disk.raw (qemu)
	Engine       Engine     `json:"engine"`        // default nspawn
	Program      string     `json:"program"`       // path of vpnami-lab, which the agent is started from
	Moto         string     `json:"moto"`          // default: moto_server on PATH
	MetadataMock string     `json:"metadata_mock"` // default: ec2-metadata-mock beside Program, then on PATH
	Hosts        []HostSpec `json:"hosts"`         // default: client1 .11, desk .12, client2 .13

	Log *slog.Logger `json:"-"`
}

// VPC names what [Up] made in EC2: the article's office-lan.
type VPC struct {
	ID              string `json:"id"`
	Subnet          string `json:"subnet"`
	InternetGateway string `json:"internet_gateway"`
	RouteTable      string `json:"route_table"`
	GroupVPN        string `json:"group_vpn"`  // UDP 1194 and TCP 22 from the world, tagged vpnami:consent=seal-ssh
	GroupStep       string `json:"group_step"` // TCP 22 from 10.0.0.0/16
	Image           string `json:"image"`      // AMI id that stands for Options.Image
	KeyName         string `json:"key_name"`
}

// Lab is a running lab.
type Lab struct {
	options Options
	state   State
	agent   agentClient
	log     *slog.Logger
}

// Up builds the lab and returns when the AWS API answers, the VPC exists and
// instances can be launched. A lab of that name that was left behind is
// refused: take it [Down] first.
func Up(ctx context.Context, options Options) (*Lab, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	if err := startAgent(ctx, options); err != nil {
		return nil, fmt.Errorf("starting lab %q: %w", options.Name, err)
	}
	return Open(ctx, options.Name, options.Log)
}

// Open returns the running lab of that name.
func Open(ctx context.Context, name string, log *slog.Logger) (*Lab, error) {
	if err := checkLabName(name); err != nil {
		return nil, err
	}
	state, err := readState(name)
	if err != nil {
		return nil, fmt.Errorf("opening lab %q (is it up? see `vpnami-lab status`): %w", name, err)
	}
	l := &Lab{options: state.Options, state: state, agent: newAgentClient(name), log: log}
	if err := l.agent.ping(ctx); err != nil {
		return nil, fmt.Errorf("opening lab %q (its agent does not answer; `vpnami-lab down` clears what is left): %w", name, err)
	}
	return l, nil
}

// Down takes the lab down. See [Down], the function.
func (l *Lab) Down(ctx context.Context) error { return Down(ctx, l.options.Name, l.log) }

// Name is the lab's name.
func (l *Lab) Name() string { return l.options.Name }

// Engine is what runs the instances.
func (l *Lab) Engine() Engine { return l.options.Engine }

// VPC names the article's network in EC2.
func (l *Lab) VPC() VPC { return l.state.VPC }

// Endpoint is the URL of the AWS API as hosts and instances see it
// (AWS_ENDPOINT_URL).
func (l *Lab) Endpoint() string { return endpointURL }

// Key is the path of the private key of the lab's EC2 key pair.
func (l *Lab) Key() string { return filepath.Join(runDir(l.options.Name), "key") }

// Dir is the lab's folder: what is put there goes with the lab.
func (l *Lab) Dir() string { return runDir(l.options.Name) }

// LogDir holds the log of every station.
func (l *Lab) LogDir() string { return logDir(l.options.Name) }

// AWS is a configuration for SDK clients: they reach the lab's API from the
// internet, as the operator's own machine does.
func (l *Lab) AWS() aws.Config {
	return awsConfig(openNamespace(namespaceName(l.options.Name, "inet")), l.state.Operator)
}

// AWSEnv is what a program on a host of the lab needs in its environment to
// use the lab's AWS API.
func (l *Lab) AWSEnv() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + endpointURL,
		"AWS_REGION=" + Region,
		"AWS_ACCESS_KEY_ID=" + l.state.Operator.ID,
		"AWS_SECRET_ACCESS_KEY=" + l.state.Operator.Secret,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// Boots has instances of an AMI boot a root file system of this machine, which must
// not change any more: each has an overlay of its own on it. Only AMIs that are known
// so, and the one that stands for Options.Image, have machines.
func (l *Lab) Boots(ctx context.Context, ami, root string) error {
	if l.options.Engine != Nspawn {
		return fmt.Errorf("booting AMI %q from %q: engine %q boots disks; want %q", ami, root, l.options.Engine, Nspawn)
	}
	if _, err := os.Stat(filepath.Join(root, "usr", "lib", "systemd", "systemd")); err != nil {
		return fmt.Errorf("booting AMI %q from %q: it is no root file system with systemd: %w", ami, root, err)
	}
	return l.agent.boots(ctx, ami, root)
}

// Settle returns when what EC2 says now is in force on the wire. Every
// changing call through the lab's API already waits for that; it is for those
// who changed something in another way.
func (l *Lab) Settle(ctx context.Context) error { return l.agent.settle(ctx) }

// Host returns a host on the internet.
func (l *Lab) Host(name string) (*Host, error) {
	var names []string
	for _, h := range l.options.Hosts {
		if h.Name == name {
			return &Host{spec: h, ns: openNamespace(namespaceName(l.options.Name, h.Name)), key: l.Key(), logs: l.LogDir()}, nil
		}
		names = append(names, h.Name)
	}
	return nil, fmt.Errorf("finding host %q: the lab has %q", name, names)
}

// Instances lists the instances that have a machine, by name.
func (l *Lab) Instances(ctx context.Context) ([]*Instance, error) {
	machines, err := l.agent.machines(ctx)
	if err != nil {
		return nil, err
	}
	var instances []*Instance
	for _, m := range machines {
		instances = append(instances, &Instance{lab: l, machine: m})
	}
	sort.Slice(instances, func(i, j int) bool { return instances[i].machine.Name < instances[j].machine.Name })
	return instances, nil
}

// Instance returns an instance by its name or id.
func (l *Lab) Instance(ctx context.Context, name string) (*Instance, error) {
	instances, err := l.Instances(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range instances {
		if i.machine.Name == name || i.machine.ID == name {
			return i, nil
		}
		names = append(names, i.machine.Name)
	}
	return nil, fmt.Errorf("finding instance %q: the lab has %q", name, names)
}

// Call is one call of the AWS API, as the lab's front saw it.
type Call struct {
	Time   time.Time  `json:"time"`
	Source netip.Addr `json:"source"`
	Action string     `json:"action"` // e.g. ec2:RunInstances, secretsmanager:GetSecretValue
	Status int        `json:"status"` // HTTP status of the answer
	TookMS int64      `json:"took_ms"`
}

// Calls lists the AWS API calls so far, oldest first.
func (l *Lab) Calls() ([]Call, error) { return readCalls(filepath.Join(l.LogDir(), callsFile)) }
