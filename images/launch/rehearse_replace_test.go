// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// replace has a second gateway take over the address while two clients are
// connected: it is made ready beside the first, which is then stopped and loses the
// address. Terraform is told last, and finds nothing to move.
func (r *rehearsal) replace(t *testing.T) {
	r.vars["gateways"] = `{a={private_address="10.0.1.2"},b={}}`
	r.Apply(t, example, r.vars)
	next, err := r.Instance(within(t, 30*time.Second), "vpn-b")
	fatal(t, err)
	_, err = next.WaitReady(within(t, time.Minute))
	fatal(t, err)

	var away []*absence
	for _, name := range []string{"client1", "client2"} {
		host, err := r.Host(name)
		fatal(t, err)
		s, err := host.Connect(within(t, 30*time.Second), filepath.Join(r.Dir(), name+".ovpn"))
		fatal(t, err)
		defer func() { fatal(t, s.Close()) }()
		away = append(away, watch(t, host))
	}
	old, err := r.Instance(t.Context(), "vpn")
	fatal(t, err)
	client := ec2.NewFromConfig(r.AWS())
	address, err := client.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{PublicIps: []string{r.remote}})
	fatal(t, err)
	began := time.Now()
	// Its daemon tells its clients that it ends, for as long as it has the address.
	_, err = client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{old.ID()}})
	fatal(t, err)
	for _, a := range away {
		fatal(t, a.left(within(t, 30*time.Second)))
	}
	_, err = client.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{AllocationId: address.Addresses[0].AllocationId, InstanceId: aws.String(next.ID()), AllowReassociation: aws.Bool(true)})
	fatal(t, err)
	t.Logf("the address has moved after %.1f s", time.Since(began).Seconds())
	for _, a := range away {
		took, err := a.back(within(t, 90*time.Second))
		fatal(t, err)
		t.Logf("%s was away for %.1f s", a.host.Name(), took.Seconds())
	}
	r.vars["active"] = "b"
	out := r.Apply(t, example, r.vars)
	t.Log(summary(out))
	r.vars["gateways"] = `{b={}}`
	out = r.Apply(t, example, r.vars)
	t.Log(summary(out))
	for _, a := range away {
		if gone := a.stop(); gone > 1 {
			t.Errorf("%s was away %d times", a.host.Name(), gone)
		}
	}
}

func summary(out string) string {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "Apply complete") {
			return strings.TrimSpace(line)
		}
	}
	return "no summary"
}

// absence watches whether a client reaches the bastion through its tunnel.
type absence struct {
	host *lab.Host
	end  context.CancelFunc

	mu    sync.Mutex
	gone  []time.Time
	again []time.Time
}

func watch(t *testing.T, host *lab.Host) *absence {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	a := &absence{host: host, end: end}
	go func() {
		reached := true
		for ctx.Err() == nil {
			// Through the tunnel an answer takes a millisecond.
			port, err := host.Probe(ctx, netip.AddrPortFrom(stepPrivate, 22).String(), 300*time.Millisecond)
			now := err == nil && port == lab.PortOpen
			if ctx.Err() == nil && now != reached {
				a.mu.Lock()
				if now {
					a.again = append(a.again, time.Now())
				} else {
					a.gone = append(a.gone, time.Now())
				}
				a.mu.Unlock()
				reached = now
			}
			// Rarely enough for sshd, which remembers who connects and says nothing.
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return a
}

func (a *absence) times() (gone, again []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone, a.again
}

func (a *absence) left(ctx context.Context) error {
	for {
		if gone, _ := a.times(); len(gone) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to lose its tunnel: %w", a.host.Name(), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// back waits until the client is there again and tells for how long it was not.
func (a *absence) back(ctx context.Context) (time.Duration, error) {
	for {
		if gone, again := a.times(); len(gone) > 0 && len(again) > 0 {
			return again[0].Sub(gone[0]), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for %s to be back: %w", a.host.Name(), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (a *absence) stop() int {
	a.end()
	gone, _ := a.times()
	return len(gone)
}
