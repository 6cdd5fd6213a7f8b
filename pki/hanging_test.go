// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// hanging is a way to AWS on which one request gets no answer until it is let go on.
type hanging struct {
	endpoint string
	hangs    chan struct{} // closed when it does
	goOn     func()
}

func hangAt(t *testing.T, behind string, is func(*http.Request) bool) hanging {
	t.Helper()
	to, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	hangs, open := make(chan struct{}), make(chan struct{})
	hang, goOn := sync.OnceFunc(func() { close(hangs) }), sync.OnceFunc(func() { close(open) })
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if is(r) {
			hang()
			<-open
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { goOn(); server.Close() })
	return hanging{server.URL, hangs, goOn}
}

// quickOffice is the stand-in for AWS, and a folder with an authority "office" whose key
// opens quickly. It runs beside other tests.
func quickOffice(t *testing.T) (aws, folder string) {
	t.Helper()
	need(t, "moto_server")
	t.Parallel()
	folder = t.TempDir()
	command(t, folder, "init", "office", "--server-name", "vpn.example.com")
	openQuickly(t, filepath.Join(folder, "office", "ca", "1", "ca.key"))
	return startMoto(t), folder
}

// besideAWS is the environment of a command that publishes by a way to AWS.
func besideAWS(endpoint string) []string {
	return append(os.Environ(), "VPNAMI_PASSPHRASE=correct horse", "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=ap-northeast-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=none", "AWS_SHARED_CREDENTIALS_FILE=none")
}

// hungCommand is a command that goes on beside the test.
type hungCommand struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended chan struct{}
	err   error
}

func startAt(t *testing.T, endpoint, folder string, args ...string) *hungCommand {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	r := &hungCommand{cmd: exec.CommandContext(ctx, "vpnami-pki", args...), ended: make(chan struct{})}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = folder, &r.out, &r.out
	r.cmd.Env = besideAWS(endpoint)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer cancel()
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r
}

func (r *hungCommand) wait(t *testing.T) string {
	t.Helper()
	<-r.ended
	if r.err != nil {
		t.Fatalf("%q: %v\n%s", r.cmd.Args, r.err, r.out.String())
	}
	return r.out.String()
}

// TestHangingAWSLocksNobodyOut has a publish hang at its first call to AWS, at its
// second, and so on: somebody is revoked meanwhile, and the publish ends well.
func TestHangingAWSLocksNobodyOut(t *testing.T) {
	aws, folder := quickOffice(t)
	publish := []string{"publish", "--secret", "hanging/office", "--folder", "office"}
	for n := 1; ; n++ {
		name := fmt.Sprintf("client%d", n)
		command(t, folder, "issue", name, "--folder", "office") // there is something to write each time
		var calls atomic.Int64
		way := hangAt(t, aws, func(*http.Request) bool { return calls.Add(1) == int64(n) })
		hung := startAt(t, way.endpoint, folder, publish...)
		select {
		case <-way.hangs:
		case <-hung.ended:
			hung.wait(t)
			if n < 10 { // 3 reads, 2 looks at the head, 2 writes, 4 reads
				t.Errorf("it is through after %d calls: they are not seen", n)
			}
			return
		}
		command(t, folder, "revoke", name, "--folder", "office")
		way.goOn()
		hung.wait(t)
		if err := openPublished(t.Context(), secretsOf(aws), "hanging/office"); err != nil {
			t.Fatalf("hung at call %d: %v", n, err)
		}
	}
}

// TestLaterPublishIsNotOverwritten has one hang at its first write, somebody revoked
// meanwhile, and another publish begin: that waits, and what it says stays.
func TestLaterPublishIsNotOverwritten(t *testing.T) {
	aws, folder := quickOffice(t)
	command(t, folder, "issue", "client1", "--folder", "office")
	publish := []string{"publish", "--secret", "later/office", "--folder", "office"}
	way := hangAt(t, aws, func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".CreateSecret") })
	first := startAt(t, way.endpoint, folder, publish...)
	select {
	case <-way.hangs:
	case <-first.ended:
		t.Fatalf("it does not hang: %s", first.out.String())
	}
	command(t, folder, "revoke", "client1", "--folder", "office")
	second := startAt(t, aws, folder, publish...)
	select {
	case <-second.ended:
		t.Fatalf("it does not wait: %s", second.out.String())
	case <-time.After(patience + time.Second/2): // it says after a second that it waits, and the first that AWS does not answer
	}
	way.goOn()
	if out := first.wait(t); !strings.Contains(out, `warning: writing secret "later/office/server": AWS has not answered yet`) {
		t.Error(out)
	}
	if out := second.wait(t); !strings.Contains(out, fmt.Sprintf("waiting for another publish to end, 2m0s at most: process %d of ", first.cmd.Process.Pid)) || !strings.Contains(out, "generation 2, 0 people") {
		t.Error(out)
	}
	there, err := readRemote(t.Context(), vault{api: secretsOf(aws)}, "later/office")
	if err != nil || there.accessErr != nil || len(there.access.Revoked()) != 1 || there.headed.Generation != 2 {
		t.Errorf("generation %d is there, with %d revoked; %v, %v", there.headed.Generation, len(there.access.Revoked()), err, there.accessErr)
	}
}

// TestWaitsForWhoIsNotKnown: what is said ends with no colon where no name follows.
func TestWaitsForWhoIsNotKnown(t *testing.T) {
	var said bytes.Buffer
	d := &desk{out: &said, err: &said}
	d.sayWaits(authority.Holder{})
	if got, want := said.String(), "waiting for another publish to end, 2m0s at most\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// meddled is a shelf on which somebody does something before a write.
type meddled struct {
	*shelf
	before string
	do     func()
}

func (m *meddled) PutSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput, options ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	if nameOf(in.SecretId) == m.before {
		m.do()
	}
	return m.shelf.PutSecretValue(ctx, in, options...)
}

// TestPublishBesideAnotherCopy has a copy of the folder, which knows nothing of the
// lock, publish between reading and the first write, between two writes, and before the
// head: what it put stays the last.
func TestPublishBesideAnotherCopy(t *testing.T) {
	a := bundletest.New(t, testNow)
	server := a.Server()
	const want = `publishing under "vpn": another has published there meanwhile`
	for name, c := range map[string]struct {
		before string // the write that the other comes before; empty: all
		server bundle.Server
		want   string
	}{
		"before all":       {"", server, want},
		"before the shard": {"vpn/server", a.Server(), want + ", maybe from a copy of this folder: publish again; 1 of 3 secrets were written"},
		"before the head":  {"vpn/access/000", server, want + ", maybe from a copy of this folder: publish again; 1 of 2 secrets were written"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{values: map[string][]byte{}}
			if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(1), Roster: people(1)}, 0); err != nil {
				t.Fatal(err)
			}
			theirs := func() {
				if _, err := publishTo(s, server, bundle.Access{CRL: a.CRL(3), Roster: people(3)}, 1); err != nil {
					t.Fatal(err)
				}
			}
			m := &meddled{shelf: s, before: c.before, do: theirs}
			v := vault{api: m}
			there, err := readRemote(t.Context(), v, "vpn")
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan(c.server, bundle.Access{CRL: a.CRL(2), Roster: people(2)}, "vpn", there, 1, testNow)
			if err == nil {
				err = p.compare(t.Context(), v, there)
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.before == "" {
				theirs()
			}
			if err := p.write(t.Context(), v, func(change) {}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			head := s.values["vpn/access"]
			if head == nil || !bytes.Contains(head, []byte(`"generation":2,`)) || bytes.Equal(head, p.sealed.Head) {
				t.Errorf("the head is %s", head)
			}
		})
	}
}
