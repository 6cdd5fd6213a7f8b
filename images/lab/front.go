// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// callsFile has a line of JSON for each call of the AWS API.
const callsFile = "aws-calls.jsonl"

// maxCall bounds a request to the API: a secret has 64 KiB, user-data 16.
const maxCall = 8 << 20

// front answers the AWS API before moto: it writes down who called what, and
// holds the answer to a call that changes EC2 until the change is in force.
// EC2 takes a moment for that as well; a test should not have to guess it.
type front struct {
	agent *Agent
	moto  http.RoundTripper
	calls *callLog
}

func (a *Agent) startFront(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(logDir(a.options.Name), callsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	listener, err := a.topology.aws.listen(ctx, endpointAddress+":80")
	if err != nil {
		return err
	}
	aws := a.topology.aws
	f := &front{agent: a, calls: &callLog{w: log}, moto: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return aws.dial(ctx, network, address)
		},
		DisableCompression: true,
	}}
	server := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	go func() { a.log.Error("API's front ended", "err", server.Serve(listener)) }()
	return nil
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	action := actionOf(r, body)
	// Host stays as the caller signed it.
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "http", strings.TrimPrefix(motoURL, "http://")
	out.RequestURI, out.Body, out.ContentLength = "", io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer, err := f.moto.RoundTrip(out)
	if err != nil {
		http.Error(w, "asking moto: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		http.Error(w, "asking moto: "+err.Error(), http.StatusBadGateway)
		return
	}
	if answer.StatusCode < 300 {
		f.follow(r.Context(), action, body)
		if action == "ec2:GetConsoleOutput" {
			content = f.agent.withConsole(content, body)
		}
	}
	for key, values := range answer.Header {
		w.Header()[key] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(content) // the caller has gone; nobody is left to tell
	source, _ := netip.ParseAddrPort(r.RemoteAddr)
	f.calls.add(Call{Time: start, Source: source.Addr(), Action: action, Status: answer.StatusCode, TookMS: time.Since(start).Milliseconds()})
}

// follow brings a successful call's effect into force.
func (f *front) follow(ctx context.Context, action string, body []byte) {
	if !changes(action) {
		return
	}
	// What EC2 has said holds, also when the caller has gone. A look takes 50 ms.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = f.agent.keep(ctx) // logged there; the next call tries again
	if action != "ec2:RebootInstances" {
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return
	}
	f.agent.mu.Lock()
	defer f.agent.mu.Unlock()
	for key, values := range form {
		if m, ok := f.agent.machines[values[0]]; ok && strings.HasPrefix(key, "InstanceId") {
			go f.agent.later(ctx, m, orderReboot)()
		}
	}
}

// maxConsole is what EC2 keeps of a console:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
const maxConsole = 64 << 10

var consoleOutput = regexp.MustCompile(`<output>[^<]*</output>`)

// withConsole puts what the machine has written to its console into moto's answer,
// which has the same words for every instance.
func (a *Agent) withConsole(answer, call []byte) []byte {
	form, err := url.ParseQuery(string(call))
	if err != nil {
		return answer
	}
	a.mu.Lock()
	m, known := a.machines[form.Get("InstanceId")]
	a.mu.Unlock()
	if !known {
		return answer
	}
	text, err := os.ReadFile(m.console)
	if err != nil {
		a.log.Error("reading a console", "instance", m.name, "err", err)
		return answer
	}
	text = text[max(0, len(text)-maxConsole):]
	return consoleOutput.ReplaceAllLiteral(answer, []byte("<output>"+base64.StdEncoding.EncodeToString(text)+"</output>"))
}

// changes tells whether a call may change what is on the wire or which
// machines there are.
func changes(action string) bool {
	verb, ok := strings.CutPrefix(action, "ec2:")
	if !ok {
		// Auto Scaling launches instances, too.
		verb, ok = strings.CutPrefix(action, "autoscaling:")
	}
	return ok && !strings.HasPrefix(verb, "Describe") && !strings.HasPrefix(verb, "Get")
}

// actionOf names a call as IAM does: "ec2:RunInstances". The service is in
// the signature's scope; the action in the form (query protocol), in a header
// (JSON protocols), in the path (CBOR), or is the method and path (REST).
func actionOf(r *http.Request, body []byte) string {
	service := "unknown"
	if _, scope, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		scope, _, _ = strings.Cut(scope, ",")
		if parts := strings.Split(scope, "/"); len(parts) >= 4 {
			service = parts[3]
		}
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return service + ":" + target[strings.LastIndexByte(target, '.')+1:]
	}
	// CloudWatch signs as "monitoring", and its rights have its own name.
	if service == "monitoring" {
		service = "cloudwatch"
	}
	if _, operation, ok := strings.Cut(r.URL.Path, "/operation/"); ok {
		return service + ":" + operation
	}
	form := r.URL.Query()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if parsed, err := url.ParseQuery(string(body)); err == nil {
			form = parsed
		}
	}
	if action := form.Get("Action"); action != "" {
		return service + ":" + action
	}
	return service + ":" + r.Method + " " + r.URL.Path
}

// callLog appends calls to a file.
type callLog struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *callLog) add(c Call) {
	line, err := json.Marshal(c)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(append(line, '\n')) // a log that cannot be written must not fail the call
}

func readCalls(path string) ([]Call, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading API calls: %w", err)
	}
	defer f.Close()
	var calls []Call
	for in := bufio.NewScanner(f); in.Scan(); {
		var c Call
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return calls, fmt.Errorf("reading API calls: %w", err)
		}
		calls = append(calls, c)
	}
	return calls, nil
}
