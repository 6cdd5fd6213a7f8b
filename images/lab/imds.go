// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// metadataFront answers at 169.254.169.254. It knows the instance by the
// source address, which the fabric's source check vouches for, and asks that
// instance's own amazon-ec2-metadata-mock, one question at a time: the mock
// keeps its tokens and its answer in variables that it shares unlocked.
type metadataFront struct {
	agent *Agent
	calls *callLog

	mu    sync.Mutex
	mocks map[string]*mock // by instance id
	port  int
}

// mock is one instance's metadata mock.
type mock struct {
	mu       sync.Mutex
	metadata metadata
	config   []byte
	address  string
	cmd      *exec.Cmd
}

const tokenPath = "/latest/api/token" //nolint:gosec // a path, not a token

func (a *Agent) startMetadata(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(logDir(a.options.Name), "metadata-calls.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	listener, err := a.topology.aws.listen(ctx, metadataAddress+":80")
	if err != nil {
		return err
	}
	// Above moto's port; each mock takes the next.
	a.metadata = &metadataFront{agent: a, calls: &callLog{w: log}, mocks: map[string]*mock{}, port: 10000}
	server := &http.Server{
		Handler: a.metadata, ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	go func() { a.log.Error("metadata's front ended", "err", server.Serve(listener)) }()
	return nil
}

type connKey struct{}

func (f *metadataFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	source, err := netip.ParseAddrPort(r.RemoteAddr)
	m := f.mockOf(source.Addr())
	if err != nil || m == nil {
		http.Error(w, "no instance has this address", http.StatusNotFound)
		return
	}
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	m.mu.Lock()
	f.answer(recorder, r, m)
	m.mu.Unlock()
	f.calls.add(Call{Time: start, Source: source.Addr(), Action: r.Method + " " + r.URL.Path, Status: recorder.status, TookMS: time.Since(start).Milliseconds()})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (f *metadataFront) answer(w http.ResponseWriter, r *http.Request, m *mock) {
	if r.URL.Path == tokenPath {
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			limitHops(conn, m.metadata.HopLimit)
		}
		f.forward(w, r, m, tokenPath)
		return
	}
	token := r.Header.Get("X-Aws-Ec2-Metadata-Token")
	if token == "" && !m.metadata.OptionalToken {
		http.Error(w, "401 - Unauthorized", http.StatusUnauthorized)
		return
	}
	a := m.metadata.lookup(r.URL.Path)
	switch {
	case !a.Found:
		http.Error(w, "404 - Not Found", http.StatusNotFound)
	case a.Forward != "":
		f.forward(w, r, m, a.Forward)
	case token != "" && !f.validToken(r.Context(), m, token):
		http.Error(w, "401 - Unauthorized", http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, a.Text)
	}
}

// limitHops does what HttpPutResponseHopLimit does: the answer to the token
// request lives for so many hops. The VPC's router takes one more. The
// connection keeps it, so that a retransmission lives no longer.
func limitHops(conn net.Conn, hops int) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL, hops+1)
	})
}

func (f *metadataFront) validToken(ctx context.Context, m *mock, token string) bool {
	answer, err := f.ask(ctx, m, http.MethodGet, metadataRoot+"instance-id", http.Header{"X-Aws-Ec2-Metadata-Token": {token}})
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func (f *metadataFront) forward(w http.ResponseWriter, r *http.Request, m *mock, path string) {
	answer, err := f.ask(r.Context(), m, r.Method, path, r.Header)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for key, values := range answer.Header {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func (f *metadataFront) ask(ctx context.Context, m *mock, method, path string, header http.Header) (*http.Response, error) {
	// A mock that was just started listens within 100 ms.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	request, err := http.NewRequestWithContext(ctx, method, "http://"+m.address+path, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	request.Header = header.Clone()
	aws := f.agent.topology.aws
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			for {
				conn, err := aws.dial(ctx, network, address)
				if !errors.Is(err, syscall.ECONNREFUSED) {
					return conn, err
				}
				select {
				case <-ctx.Done():
					return nil, err
				case <-time.After(5 * time.Millisecond):
				}
			}
		}}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("asking the metadata mock: %w", err)
	}
	answer.Body = closer{answer.Body, cancel}
	return answer, nil
}

type closer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c closer) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

func (f *metadataFront) mockOf(source netip.Addr) *mock {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.mocks {
		for _, a := range m.metadata.Addresses {
			if a == source {
				return m
			}
		}
	}
	return nil
}

// update gives each instance a mock that says what EC2 says now. A mock whose
// configuration changed is replaced; its tokens end with it, as any may.
func (f *metadataFront) update(ctx context.Context, c cloud, look snapshot, names map[string]string) error {
	for _, i := range look.instances {
		id := aws.ToString(i.InstanceId)
		name, ok := names[id]
		if !ok {
			continue
		}
		f.mu.Lock()
		m := f.mocks[id]
		f.mu.Unlock()
		fresh, err := c.metadata(ctx, look, i, m)
		if err != nil {
			return fmt.Errorf("making the metadata of %q: %w", name, err)
		}
		config, err := mockConfig(fresh)
		if err != nil {
			return fmt.Errorf("making the metadata of %q: %w", name, err)
		}
		if err := f.replace(id, name, m, fresh, config); err != nil {
			return fmt.Errorf("starting the metadata mock of %q: %w", name, err)
		}
	}
	return nil
}

func (f *metadataFront) replace(id, name string, old *mock, fresh metadata, config []byte) error {
	if old != nil && bytes.Equal(old.config, config) && old.metadata.OptionalToken == fresh.OptionalToken {
		old.mu.Lock()
		old.metadata = fresh
		old.mu.Unlock()
		return nil
	}
	f.mu.Lock()
	f.port++
	port := fmt.Sprint(f.port)
	f.mu.Unlock()
	path := filepath.Join(runDir(f.agent.options.Name), "metadata-"+name+".json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return err
	}
	args := []string{"-n", "127.0.0.1", "-p", port, "-c", path}
	if !fresh.OptionalToken {
		args = append(args, "--imdsv2")
	}
	cmd, err := f.agent.startProcess(f.agent.topology.aws, "metadata-"+name+".log", f.agent.options.MetadataMock, args...)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.mocks[id] = &mock{metadata: fresh, config: config, address: "127.0.0.1:" + port, cmd: cmd}
	f.mu.Unlock()
	if old != nil {
		old.mu.Lock() // not in the middle of an answer
		defer old.mu.Unlock()
		return ignoreDone(old.cmd.Process.Kill())
	}
	return nil
}

func (f *metadataFront) forget(id string) {
	f.mu.Lock()
	m := f.mocks[id]
	delete(f.mocks, id)
	f.mu.Unlock()
	if m != nil {
		_ = ignoreDone(m.cmd.Process.Kill()) // what does not die here dies with the lab
	}
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// credentials are those of the role that the instance was launched with. One
// without has those of nobody in particular, which do for as long as the lab's
// AWS does not enforce its IAM: a role is nothing that a demo has to make.
func (c cloud) credentials(ctx context.Context, m *metadata, i types.Instance, old *mock) error {
	if i.IamInstanceProfile == nil {
		m.Profile, m.Role, m.Keys = "lab", "lab", anybody()
		m.Keys.Token = "lab"
		return nil
	}
	arn := aws.ToString(i.IamInstanceProfile.Arn)
	m.Profile = arn[strings.LastIndexByte(arn, '/')+1:]
	if old != nil && old.metadata.Profile == m.Profile && old.metadata.Role != "" {
		m.Role, m.Keys = old.metadata.Role, old.metadata.Keys
		return nil
	}
	var err error
	m.Role, m.Keys, err = c.assume(ctx, m.Profile, m.Instance)
	return err
}

// metadata is what EC2 says of an instance. User-data and key are read once:
// EC2 changes neither while an instance runs.
func (c cloud) metadata(ctx context.Context, look snapshot, i types.Instance, old *mock) (metadata, error) {
	nic := i.NetworkInterfaces[0]
	m := metadata{
		Instance: aws.ToString(i.InstanceId), Image: aws.ToString(i.ImageId), Type: string(i.InstanceType),
		Reservation: "r-lab", Account: aws.ToString(nic.OwnerId), Zone: aws.ToString(i.Placement.AvailabilityZone),
		Hostname: aws.ToString(i.PrivateDnsName), MAC: aws.ToString(nic.MacAddress), Interface: aws.ToString(nic.NetworkInterfaceId),
		Subnet: aws.ToString(nic.SubnetId), VPC: aws.ToString(nic.VpcId), SubnetCIDR: look.subnets[aws.ToString(nic.SubnetId)],
		VPCCIDRs: look.vpcs[aws.ToString(nic.VpcId)], KeyName: aws.ToString(i.KeyName),
		Launched: aws.ToTime(i.LaunchTime), HopLimit: 1,
	}
	if err := c.credentials(ctx, &m, i, old); err != nil {
		return m, err
	}
	n := look.network(map[string]string{m.Instance: "x"})
	if len(n.Ports) == 0 || len(n.Ports[0].Addresses) == 0 {
		return m, fmt.Errorf("instance %q has no address", m.Instance)
	}
	m.Addresses, m.Public = n.Ports[0].Addresses, n.Ports[0].Public[n.Ports[0].Addresses[0]]
	m.Prefixes = n.Ports[0].Prefixes
	for _, g := range nic.Groups {
		m.GroupIDs = append(m.GroupIDs, aws.ToString(g.GroupId))
		m.GroupNames = append(m.GroupNames, aws.ToString(g.GroupName))
	}
	if o := i.MetadataOptions; o != nil {
		m.OptionalToken = o.HttpTokens == types.HttpTokensStateOptional
		m.HopLimit = max(1, int(aws.ToInt32(o.HttpPutResponseHopLimit)))
		if o.InstanceMetadataTags == types.InstanceMetadataTagsStateEnabled {
			m.Tags = map[string]string{}
			for _, t := range i.Tags {
				m.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
	}
	if old != nil {
		m.UserData, m.PublicKey = old.metadata.UserData, old.metadata.PublicKey
		return m, nil
	}
	var err error
	if m.UserData, err = c.userData(ctx, m.Instance); err != nil || m.KeyName == "" {
		return m, err
	}
	keys, err := c.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{m.KeyName}, IncludePublicKey: aws.Bool(true)})
	if err != nil {
		return m, fmt.Errorf("reading key pair %q: %w", m.KeyName, err)
	}
	for _, k := range keys.KeyPairs {
		m.PublicKey = strings.TrimSpace(aws.ToString(k.PublicKey))
	}
	return m, nil
}
