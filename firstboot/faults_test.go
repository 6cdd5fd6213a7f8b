// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

var updateFaults = flag.Bool("update-faults", false, "write testdata/faults.tsv from what is seen")

// fault is something that goes wrong, with how it passes.
type fault struct {
	part, name  string
	spoil, mend func(*gateway)
}

// moment is when it goes wrong.
type moment struct {
	name    string
	prepare func(*gateway)
	// act returns the state that the program ends with, and its cause.
	act func(*gateway) (State, string)
}

// answered are the faults of a service that speaks HTTP.
func answered(part string) []fault {
	faults := []fault{}
	for name, handler := range map[string]http.HandlerFunc{
		"hanging": hang,
		"401":     status(401), "404": status(404), "429": status(429), "500": status(500), "503": status(503),
		"403": func(w http.ResponseWriter, r *http.Request) {
			if part == "secretsmanager" {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","Message":"no identity-based policy allows the secretsmanager:GetSecretValue action"}`)
				return
			}
			denied(w, r)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\x00") },
		"empty":   status(200),
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{\"")
		},
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			if taken, ok := w.(http.Hijacker); ok {
				if connection, _, err := taken.Hijack(); err == nil {
					_ = connection.Close()
				}
			}
		},
	} {
		faults = append(faults, fault{part, name, func(g *gateway) { g.cloud.spoil(part, handler) }, func(g *gateway) { g.cloud.spoil(part, nil) }})
	}
	return faults
}

// published are the faults of what is in the secrets.
func published() []fault {
	republish := func(g *gateway) {
		g.cloud.spoil("secretsmanager", nil)
		g.people.access.CRL = g.people.CRL(3)
		g.publishAgain(3)
	}
	put := func(name string, change func(*gateway)) fault { return fault{"secret", name, change, republish} }
	return []fault{
		put("absent", func(g *gateway) { clear(g.cloud.secrets) }),
		put("wrong", func(g *gateway) { g.cloud.secrets["vpn/office/server"] = []byte(`{"user": "admin"}`) }),
		put("garbage", func(g *gateway) { g.cloud.secrets["vpn/office/access"] = []byte("\x00\xff") }),
		put("truncated", func(g *gateway) {
			whole := g.cloud.secrets["vpn/office/server"]
			g.cloud.secrets["vpn/office/server"] = whole[:len(whole)/2]
		}),
		put("shard of another publish", func(g *gateway) { g.cloud.secrets[bundle.ShardID("vpn/office", 0)] = []byte("x") }),
		put("marked deleted", func(g *gateway) {
			g.cloud.spoil("secretsmanager", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it was marked for deletion."}`)
			})
		}),
	}
}

// around are the faults of the machine.
func around() []fault {
	day := 24 * time.Hour
	clock := func(name string, by time.Duration) fault {
		return fault{"clock", name, func(g *gateway) { g.clock = by }, func(g *gateway) { g.clock = 0 }}
	}
	return []fault{
		{"systemd", "away", func(g *gateway) { g.noSystemd = errors.New("connection refused") }, func(g *gateway) { g.noSystemd = nil }},
		{"systemd", "filter fails", func(g *gateway) { g.systemd.fail(filterUnit) }, func(g *gateway) { delete(g.systemd.fails, filterUnit) }},
		{"openvpn", "does not start", func(g *gateway) { g.systemd.fail(openvpnUnit) }, func(g *gateway) { delete(g.systemd.fails, openvpnUnit) }},
		{"openvpn", "lets nobody in", func(g *gateway) { g.prove = errors.New("connecting: AUTH_FAILED") }, func(g *gateway) { g.prove = nil }},
		clock("a day slow", -day), clock("a day fast", day), clock("1970", -56*365*day), clock("twenty years fast", 20*365*day),
	}
}

// moments: on the first boot, when the machine boots again, and when something
// new is published.
func moments() []moment {
	boot := func(g *gateway) (State, string) { r := g.boot(); return r.State, r.Cause }
	stand := func(g *gateway) { g.want(g.boot(), Ready, "") }
	return []moment{
		{"first boot", func(*gateway) {}, boot},
		{"later boot", func(g *gateway) {
			stand(g)
			g.machine.reboot(g.t)
			g.systemd.states[openvpnUnit] = "inactive"
		}, boot},
		{"sync", func(g *gateway) {
			stand(g)
			g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
			g.publishAgain(2)
		}, func(g *gateway) (State, string) {
			end, _ := g.syncs()
			r, err := readResult(g.machine.layout.result())
			if err != nil {
				g.t.Error(err)
			}
			g.check(r)
			return r.State, end.Cause
		}},
	}
}

// TestFaults is the matrix of testdata/faults.tsv: what goes wrong, when, and
// how it ends. For every cell holds what [gateway.check] says, that the cause
// is told within five seconds, that a gateway that stood stands, and that it
// all passes when the fault does.
func TestFaults(t *testing.T) {
	const table = "testdata/faults.tsv"
	var seen []string
	var mu sync.Mutex
	faults := slices.Concat(answered("imds"), answered("secretsmanager"), answered("ec2"), published(), around())
	t.Run("cells", func(t *testing.T) {
		for _, f := range faults {
			for _, m := range moments() {
				t.Run(fmt.Sprintf("%s %s %s", f.part, f.name, m.name), func(t *testing.T) {
					t.Parallel()
					line := cell(t, f, m)
					mu.Lock()
					defer mu.Unlock()
					seen = append(seen, line)
				})
			}
		}
	})
	slices.Sort(seen)
	text := "# what\thow\twhen\tends as\tand says\n" + strings.Join(seen, "\n") + "\n"
	if *updateFaults {
		if err := os.WriteFile(table, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(committed)), "\n")[1:]
	held := 0
	for _, line := range want {
		if slices.Contains(seen, line) {
			held++
			continue
		}
		t.Errorf("not held: %s", line)
	}
	for _, line := range seen {
		if !slices.Contains(want, line) {
			t.Errorf("not in the table: %s", line)
		}
	}
	t.Logf("%d of %d cells held", held, len(want))
}

// cell plays one fault at one moment, and returns its line of the table.
func cell(t *testing.T, f fault, m moment) string {
	g := newGateway(t, vpnDocument)
	m.prepare(g)
	stood := m.name != "first boot"
	f.spoil(g)
	// The role may close SSH and not open it: when the daemon itself cannot run
	// any more, on a later boot, nothing is left to do but to say so.
	broken := f.part == "openvpn" || f.part == "systemd"
	g.broken = stood && broken
	g.console.Reset()
	began := time.Now()
	told := make(chan time.Duration, 1)
	g.told = func() {
		select {
		case told <- time.Since(began):
		default:
		}
	}
	state, cause := m.act(g)
	if cause != "" {
		select {
		case took := <-told:
			if took > 5*time.Second {
				t.Errorf("told after %s: %s", took, cause)
			}
		default:
			t.Errorf("not told on the console: %s", cause)
		}
		if part := strings.Split(cause, ":")[0]; !strings.Contains(g.console.String(), part) {
			t.Errorf("the console says\n%snot %q", g.console.String(), part)
		}
	}
	if broken && state == Ready {
		t.Error("reported ready, and not so")
	}
	if stood && !broken && g.systemd.states[openvpnUnit] != "active" {
		t.Error("a gateway that stood is down")
	}
	f.mend(g)
	g.broken = false
	if r := g.boot(); r.State != Ready {
		// What is tried once in a boot is tried again in the next.
		g.machine.reboot(t)
		g.want(g.boot(), Ready, "")
	}
	return strings.Join([]string{f.part, f.name, m.name, string(state), plain(g, cause)}, "\t")
}

var (
	somePort = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	someDate = regexp.MustCompile(`\d{4}-\d\d-\d\d(T[0-9:.]+Z)?`)
	someTry  = regexp.MustCompile(`after attempts: \d+`)
	someSum  = regexp.MustCompile(`\d+ bytes, sha256 [0-9a-f]+|, [0-9a-f]{12}\.\.\.`)
	someID   = regexp.MustCompile(`(?i)request ?id: [^,;"]*`)
)

// plain is a cause without what differs from run to run.
func plain(g *gateway, cause string) string {
	cause = strings.ReplaceAll(cause, g.machine.layout.root, "")
	cause = somePort.ReplaceAllString(cause, "HOST")
	cause = someTry.ReplaceAllString(cause, "after N attempts")
	cause = someSum.ReplaceAllString(cause, "SUM")
	cause = someID.ReplaceAllString(cause, "RequestID")
	cause = someDate.ReplaceAllString(cause, "DATE")
	return filepath.ToSlash(cause)
}
