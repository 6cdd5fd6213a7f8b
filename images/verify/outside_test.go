// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse || aws

package verify

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// target is where a gateway and a bastion of the image run: the lab, or an account
// of AWS.
type target interface {
	// launch brings them up, with a secret that is published.
	launch(t *testing.T)
	// find tells where what was launched is, also after another process did it.
	find(t *testing.T) site
	// console is what a machine has written to its console so far.
	console(ctx context.Context, instance string) (string, error)
	// tags are those that EC2 has of an instance.
	tags(ctx context.Context, instance string) (map[string]string, error)
	// pki runs the operator's command at her desk, in the folder of the authority.
	pki(ctx context.Context, args ...string) (string, error)
	// destroy ends everything that launch made, whether or not it came to its end.
	destroy(t *testing.T)
}

// site is what stands in a target.
type site struct {
	gateway, step string     // instance ids
	remote        netip.Addr // where clients connect to
	bastion       netip.Addr // the bastion's private address
	login         string     // who logs in there with the key of the launch
	profiles      string     // folder of client1.ovpn and client2.ovpn
	client        *lab.Host  // somewhere on the internet
	secret        string     // for publish
	// mirror is a host on the internet that answers over HTTP with the address that
	// it sees; out is the one that it is to see of the bastion, none where the bastion
	// has no way out.
	mirror string
	out    netip.Addr
	// boots is how long a launch may take until it has told how it ended.
	boots time.Duration
}

// stage runs one stage, unless SKIP_NAME says that it is left out.
func stage(t *testing.T, name string, do func(*testing.T)) bool {
	t.Helper()
	if os.Getenv("SKIP_"+name) != "" {
		t.Logf("%s is left out: SKIP_%s is set", name, name)
		return true
	}
	began := time.Now()
	ok := t.Run(name, do)
	t.Logf("%-8s %6.1f s", name, time.Since(began).Seconds())
	return ok
}

// fromOutside is the suite: what a company relies on, as far as it is seen from
// outside and over the tunnel. It is the same for every target.
func fromOutside(t *testing.T, where target) {
	t.Helper()
	if os.Getenv("SKIP_destroy") == "" {
		// Whatever became of the stages in between.
		defer stage(t, "destroy", where.destroy)
	}
	if !stage(t, "launch", where.launch) {
		return
	}
	stage(t, "verify", func(t *testing.T) { verifyFromOutside(t, where, where.find(t)) })
}

func verifyFromOutside(t *testing.T, where target, s site) {
	profile := func(name string) string { return filepath.Join(s.profiles, name+".ovpn") }
	for _, each := range []struct{ role, instance string }{{"vpn", s.gateway}, {"step", s.step}} {
		if !t.Run("the first boot of "+each.role+" tells on its console that it is ready", func(t *testing.T) {
			line := told(t, where, each.instance, s.boots)
			if !strings.HasPrefix(line, "ready: role="+each.role+" ") {
				t.Fatalf("it says %q", line)
			}
			t.Log(line)
		}) {
			return
		}
	}
	t.Run("its tags tell that all is well", func(t *testing.T) {
		// The first sync comes within a minute of the boot.
		want := map[string]string{"vpnami:status": "ready", "vpnami:status-certificate": "good", "vpnami:status-sync": "good"}
		got := map[string]string{}
		eventually(t, 2*time.Minute, func(ctx context.Context) error {
			var err error
			if got, err = where.tags(ctx, s.gateway); err != nil {
				return err
			}
			for key, value := range want {
				if got[key] != value {
					return fmt.Errorf("the tag %s of %s is %q, want %q (%q)", key, s.gateway, got[key], value, got["vpnami:status-detail"])
				}
			}
			return nil
		})
	})
	t.Run("UDP answers from outside", func(t *testing.T) {
		eventually(t, time.Minute, func(ctx context.Context) error {
			out, err := where.pki(ctx, "reach", profile("client1"))
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
	})
	t.Run("SSH from the internet is closed", func(t *testing.T) {
		looks(t, s.client, netip.AddrPortFrom(s.remote, 22), lab.PortFiltered, 3*time.Second)
	})
	t.Run("the bastion is not reached without the tunnel", func(t *testing.T) {
		port, err := s.client.Probe(within(t, 10*time.Second), netip.AddrPortFrom(s.bastion, 22).String(), 3*time.Second)
		if err != nil || port == lab.PortOpen {
			t.Errorf("TCP 22 of %s is %s, %v", s.bastion, port, err)
		}
	})
	t.Run("a client connects, and logs in to the bastion", func(t *testing.T) {
		session := joined(t, s.client, profile("client1"), time.Minute)
		out, err := s.client.SSH(within(t, time.Minute), s.login, s.bastion, "ip", "-4", "-o", "addr")
		if err != nil || !strings.Contains(out, s.bastion.String()) {
			t.Errorf("the machine behind %s: %v\n%s", s.bastion, err, out)
		}
		t.Logf("connected within %s, with %s", session.Took().Round(time.Millisecond), session.Address())
	})
	t.Run("the bastion's way out", func(t *testing.T) {
		joined(t, s.client, profile("client1"), time.Minute)
		ask := fmt.Sprintf(`timeout 5 bash -c 'exec 3<>/dev/tcp/%s/80 && printf "GET / HTTP/1.0\r\nHost: %s\r\n\r\n" >&3 && cat <&3'`, s.mirror, s.mirror)
		out, err := s.client.SSH(within(t, time.Minute), s.login, s.bastion, ask)
		switch {
		case !s.out.IsValid() && err == nil:
			t.Errorf("it gets out, where there is no way:\n%s", out)
		case s.out.IsValid() && (err != nil || !strings.Contains(out, s.out.String())):
			t.Errorf("%s does not see it as the gateway, %s: %v\n%s", s.mirror, s.out, err, out)
		}
	})
	t.Run("who is revoked is refused within a minute, and the other is not", func(t *testing.T) {
		if err := joined(t, s.client, profile("client2"), time.Minute).Close(); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"revoke", "client2"}, {"publish", "--secret", s.secret}} {
			if out, err := where.pki(within(t, time.Minute), args...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		published := time.Now()
		// 60 s, and what one refusal takes to be known.
		eventually(t, 75*time.Second, func(ctx context.Context) error {
			session, err := s.client.Connect(within(t, 8*time.Second), profile("client2"))
			if err != nil {
				return nil
			}
			_ = session.Close()
			return fmt.Errorf("client2 is let in, %s after it was revoked", time.Since(published).Round(time.Second))
		})
		t.Logf("refused %s after it was published", time.Since(published).Round(time.Second))
		joined(t, s.client, profile("client1"), time.Minute)
	})
}

// told waits for the line with which a first boot ends.
func told(t *testing.T, where target, instance string, patience time.Duration) string {
	t.Helper()
	line := ""
	eventually(t, patience, func(ctx context.Context) error {
		text, err := where.console(ctx, instance)
		if err != nil {
			return err
		}
		found := false
		if line, found = resultLine(text); !found {
			return fmt.Errorf("the console of %s tells of no result; it is:\n%s", instance, text)
		}
		// A gateway waits for its secret, and comes again by itself.
		if strings.HasPrefix(line, "waiting: ") {
			return fmt.Errorf("%s is %s", instance, line)
		}
		return nil
	})
	return line
}

// eventually asks again until there is no error, or fails with the last one.
func eventually(t *testing.T, patience time.Duration, ask func(context.Context) error) {
	t.Helper()
	ctx := within(t, patience)
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %v", patience, err)
		case <-time.After(min(5*time.Second, patience/50)):
		}
	}
}

// resultLine finds the line of the console that ended the last run, without the
// program's name.
func resultLine(console string) (last string, found bool) {
	for line := range strings.Lines(console) {
		_, said, ours := strings.Cut(line, "vpnami: ")
		state, _, _ := strings.Cut(said, ":")
		if ours && (state == "ready" || state == "waiting" || state == "refused" || state == "degraded") {
			last, found = strings.TrimSpace(said), true
		}
	}
	return last, found
}

func TestResultLine(t *testing.T) {
	for console, want := range map[string]string{
		"[    2.1] vpnami: identify (12ms)\r\n[    2.4] vpnami: ready: role=step took=0.3s\r\n": "ready: role=step took=0.3s",
		"vpnami: waiting: reading the secret -- publish it\n":                                   "waiting: reading the secret -- publish it",
		"vpnami: waiting: no secret\nvpnami: identify (2ms)\nvpnami: ready: role=vpn took=1s\n": "ready: role=vpn took=1s",
		"vpnami: warning: the hop limit is 2\nvpnami: seal failed: no answer\n":                 "",
		"Linux version 6.8.0\n": "",
		"":                      "",
	} {
		if got, found := resultLine(console); got != want || found != (want != "") {
			t.Errorf("%q: %q, %v; want %q", console, got, found, want)
		}
	}
}
