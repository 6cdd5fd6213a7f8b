// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func socketPath(name string) string { return filepath.Join(runDir(name), "agent.sock") }

// agentClient speaks to the lab's agent.
type agentClient struct {
	http *http.Client
}

func newAgentClient(name string) agentClient {
	return agentClient{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socketPath(name))
		},
		DisableKeepAlives: true,
	}}}
}

func (c agentClient) ping(ctx context.Context) error   { return c.call(ctx, "GET", "/", nil) }
func (c agentClient) settle(ctx context.Context) error { return c.call(ctx, "POST", "/settle", nil) }

func (c agentClient) boots(ctx context.Context, ami, root string) error {
	return c.call(ctx, "POST", "/images/"+ami+"?root="+url.QueryEscape(root), nil)
}

func (c agentClient) machines(ctx context.Context) ([]MachineState, error) {
	var list []MachineState
	return list, c.call(ctx, "GET", "/machines", &list)
}

func (c agentClient) order(ctx context.Context, name string, order machineOrder) (MachineState, error) {
	var state MachineState
	return state, c.call(ctx, "POST", "/machines/"+name+"/"+string(order), &state)
}

func (c agentClient) call(ctx context.Context, method, path string, answer any) error {
	// The longest order is a clean shutdown that is not obeyed.
	ctx, cancel := context.WithTimeout(ctx, 3*shutdownTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(body)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// handler is the agent's side.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, value any, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(value) // the asker has gone
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { reply(w, "up", nil) })
	mux.HandleFunc("POST /settle", func(w http.ResponseWriter, r *http.Request) { reply(w, "settled", a.keep(r.Context())) })
	mux.HandleFunc("GET /machines", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		list := []MachineState{}
		for _, m := range a.machines {
			list = append(list, m.snapshot())
		}
		a.mu.Unlock()
		reply(w, list, nil)
	})
	mux.HandleFunc("POST /images/{ami}", func(w http.ResponseWriter, r *http.Request) {
		a.boots(r.PathValue("ami"), r.FormValue("root"))
		reply(w, "known", nil)
	})
	mux.HandleFunc("POST /machines/{name}/{order}", func(w http.ResponseWriter, r *http.Request) {
		m, err := a.machineNamed(r.PathValue("name"))
		if err == nil {
			// An order is carried out, also when the asker has gone.
			err = m.obey(context.WithoutCancel(r.Context()), machineOrder(r.PathValue("order")))
		}
		if err != nil {
			reply(w, nil, err)
			return
		}
		reply(w, m.snapshot(), nil)
	})
	return mux
}

// optionsPath is what the agent is started with.
func optionsPath(name string) string { return filepath.Join(runDir(name), "options.json") }

// ReadOptions reads what [Up] left for the agent.
func ReadOptions(name string) (Options, error) {
	var o Options
	if err := checkLabName(name); err != nil {
		return o, err
	}
	data, err := os.ReadFile(optionsPath(name))
	if err != nil {
		return o, fmt.Errorf("reading the lab's options: %w", err)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("parsing %q: %w", optionsPath(name), err)
	}
	return o, nil
}

// startAgent starts the agent and waits until it serves.
func startAgent(ctx context.Context, o Options) error {
	if err := os.MkdirAll(runRoot, 0o750); err != nil {
		return err
	}
	// The folder is the lock: two labs of one name cannot be made at once.
	if err := os.Mkdir(runDir(o.Name), 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("it is there already, or was left behind: take it down first (`vpnami-lab down --name %s`)", o.Name)
		}
		return err
	}
	if err := os.Mkdir(logDir(o.Name), 0o700); err != nil {
		return err
	}
	data, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(optionsPath(o.Name), data, 0o600); err != nil {
		return err
	}
	logPath := filepath.Join(logDir(o.Name), "agent.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(o.Program, "agent", "--name", o.Name) //nolint:noctx // it outlives its caller
	cmd.Env = append(os.Environ(), labMark+"="+o.Name)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return waitAgent(ctx, o.Name, ended, logPath)
}

func waitAgent(ctx context.Context, name string, ended <-chan error, logPath string) error {
	// Unpacking an image takes 10 s, moto's start 3; an emulated or very busy
	// machine may take much longer.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client := newAgentClient(name)
	for {
		if client.ping(ctx) == nil {
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("the agent ended (%w); end of its log:\n%s", err, lastLines(text, 5))
		case <-ctx.Done():
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("waiting for the agent: %w; end of its log:\n%s", ctx.Err(), lastLines(text, 5))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
