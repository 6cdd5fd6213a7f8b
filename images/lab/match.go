// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// match compares the instances of EC2 with the machines and returns what is
// to be done: a machine for each new instance, none for a terminated one,
// power off and on for one that was stopped and started.
func (a *Agent) match(ctx context.Context, look snapshot) []func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	var actions []func()
	present := map[string]bool{}
	for _, i := range look.instances {
		id := aws.ToString(i.InstanceId)
		if _, there := a.images[aws.ToString(i.ImageId)]; !there {
			continue
		}
		present[id] = true
		m, known := a.machines[id]
		if !known {
			m = a.newMachine(i)
			a.machines[id] = m
		}
		running := i.State.Name == types.InstanceStateNameRunning || i.State.Name == types.InstanceStateNamePending
		if running != a.started[id] {
			order := orderPowerOff
			if running {
				order = orderStart
			}
			actions = append(actions, a.later(ctx, m, order))
		}
		a.started[id] = running
	}
	for id, m := range a.machines {
		if present[id] {
			continue
		}
		delete(a.machines, id)
		delete(a.started, id)
		actions = append(actions, func() {
			if err := m.remove(context.WithoutCancel(ctx), a.topology); err != nil {
				a.log.Error("removing machine", "instance", m.name, "err", err)
			}
			a.metadata.forget(id)
		})
	}
	return actions
}

// later is an order that outlives the API call which it follows from.
func (a *Agent) later(ctx context.Context, m *machine, order machineOrder) func() {
	return func() {
		if err := m.obey(context.WithoutCancel(ctx), order); err != nil {
			a.log.Error("ordering machine", "instance", m.name, "order", order, "err", err)
		}
	}
}

func (a *Agent) newMachine(i types.Instance) *machine {
	id := aws.ToString(i.InstanceId)
	nic := i.NetworkInterfaces[0]
	taken := map[string]bool{"inet": true, "vpc": true, "aws": true}
	for _, h := range a.options.Hosts {
		taken[h.Name] = true
	}
	for _, m := range a.machines {
		taken[m.name] = true
	}
	s := newStation(a.options.Name, stationFor(tag(i.Tags, "Name"), id, taken), aws.ToString(nic.MacAddress), hostnameOf(i))
	s.image = a.images[aws.ToString(i.ImageId)]
	m := &machine{station: s, engine: a.engine, log: a.log, plugged: a.keep}
	m.state = MachineState{Name: s.name, ID: id}
	for _, p := range prefixes(aws.ToString(nic.PrivateIpAddress) + "/32") {
		m.state.PrivateAddress = p.Addr()
	}
	return m
}

var notInStation = regexp.MustCompile(`[^a-z0-9-]+`)

// stationFor makes a station's name of an instance's Name tag; one that is
// taken gets the end of the instance's id.
func stationFor(name, id string, taken map[string]bool) string {
	plain := strings.Trim(notInStation.ReplaceAllString(strings.ToLower(name), "-"), "-")
	plain = strings.TrimLeft(plain, "0123456789-")
	if len(plain) > 12 {
		plain = plain[:12]
	}
	if checkStationName(plain) == nil && !taken[plain] {
		return plain
	}
	if len(plain) > 7 {
		plain = plain[:7]
	}
	if plain == "" {
		plain = "i"
	}
	return plain + "-" + id[max(0, len(id)-4):]
}

func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// hostnameOf is the name that EC2 gives: ip-10-0-1-2.
func hostnameOf(i types.Instance) string {
	return "ip-" + strings.ReplaceAll(aws.ToString(i.NetworkInterfaces[0].PrivateIpAddress), ".", "-")
}

// machineNamed finds a machine by its station's name.
func (a *Agent) machineNamed(name string) (*machine, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.machines {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("finding machine %q: there is none", name)
}
