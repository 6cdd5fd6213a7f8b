// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package lab

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// TestFabric asserts on packets what a VPC does. The subtests share a lab and
// leave it as they found it.
func TestFabric(t *testing.T) {
	needRoot(t)
	o := openOffice(t, "tfabric")
	vpn, step, client := instanceNS(o.vpn), instanceNS(o.step), openNamespace(o.client.Namespace())
	o.listen(vpn, ":22")
	o.listen(vpn, ":80")
	o.listen(step, ":22")
	o.listen(step, ":80")
	o.listen(client, ":80")
	ssh := tcp(22, 22, "0.0.0.0/0")

	t.Run("a group admits what it says, until it says no more", func(t *testing.T) {
		o.t = t
		o.want(client, publicAddress+":22", PortOpen)
		o.want(client, publicAddress+":80", PortFiltered)
		o.revoke(o.VPC().GroupVPN, ssh)
		o.want(client, publicAddress+":22", PortFiltered)
		o.authorize(o.VPC().GroupVPN, ssh, tcp(79, 81, o.client.Address().String()+"/32"))
		o.want(client, publicAddress+":22", PortOpen)
		o.want(client, publicAddress+":80", PortOpen)
		o.revoke(o.VPC().GroupVPN, tcp(79, 81, o.client.Address().String()+"/32"))
		o.want(client, publicAddress+":80", PortFiltered)
	})
	t.Run("a connection outlives the rule that let it in", func(t *testing.T) {
		o.t = t
		echo, err := vpn.listen(t.Context(), ":2222")
		if err != nil {
			t.Fatal(err)
		}
		defer echo.Close()
		go func() {
			if conn, err := echo.Accept(); err == nil {
				_, _ = io.Copy(conn, conn)
			}
		}()
		open := tcp(2222, 2222, "0.0.0.0/0")
		o.authorize(o.VPC().GroupVPN, open)
		conn, err := client.dial(within(t, time.Second), "tcp", publicAddress+":2222")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		o.revoke(o.VPC().GroupVPN, open)
		o.want(client, publicAddress+":2222", PortFiltered)
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("still here")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, len("still here"))); err != nil {
			t.Errorf("reading the echo: %v", err)
		}
	})
	t.Run("inside the VPC", func(t *testing.T) {
		o.t = t
		o.want(vpn, stepAddress+":22", PortOpen)
		o.want(vpn, stepAddress+":80", PortFiltered)
		o.want(vpn, "10.0.7.7:22", PortFiltered) // nobody owns it
	})
	t.Run("a group as a source means its members", func(t *testing.T) {
		o.t = t
		members := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80),
			UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(o.VPC().GroupVPN)}}}
		o.authorize(o.VPC().GroupStep, members)
		o.want(vpn, stepAddress+":80", PortOpen)
		o.revoke(o.VPC().GroupStep, members)
		o.want(vpn, stepAddress+":80", PortFiltered)
		all := types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: members.UserIdGroupPairs}
		o.authorize(o.VPC().GroupStep, all)
		o.want(vpn, stepAddress+":80", PortOpen)
		o.revoke(o.VPC().GroupStep, all)
	})
	t.Run("only a public address reaches the internet, translated", func(t *testing.T) {
		o.t = t
		web := o.client.Address().String() + ":80"
		seen, err := o.from(vpn, vpnAddress, web)
		if err != nil || !strings.HasPrefix(seen, publicAddress+":") {
			t.Errorf("the internet saw %q, %v; want %s", seen, err, publicAddress)
		}
		o.want(step, web, PortFiltered)
		o.want(client, stepAddress+":22", PortUnreachable)
	})
	t.Run("what leaves is for groups to say, too", func(t *testing.T) {
		o.t = t
		web := o.client.Address().String() + ":80"
		all := []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
		group := o.VPC().GroupVPN
		_, err := o.ec2.RevokeSecurityGroupEgress(within(t, 5*time.Second), &ec2.RevokeSecurityGroupEgressInput{GroupId: &group, IpPermissions: all})
		o.api("revoking egress", err)
		o.want(vpn, web, PortFiltered)
		_, err = o.ec2.AuthorizeSecurityGroupEgress(within(t, 5*time.Second), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &group, IpPermissions: all})
		o.api("authorizing egress", err)
		o.want(vpn, web, PortOpen)
	})
	t.Run("a source that is not the interface's is dropped, and one that nobody routes gets no answer", func(t *testing.T) {
		o.t = t
		tunnel := "10.0.255.5"
		err := inside(vpn, func(h *netlink.Handle) error { return setUp(h, "lo", tunnel+"/32") })
		o.api("adding the tunnel's address", err)
		if seen, err := o.from(vpn, tunnel, stepAddress+":22"); err == nil {
			t.Errorf("with the source check on, step answered %q", seen)
		}
		_, err = o.ec2.ModifyInstanceAttribute(within(t, 5*time.Second), &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(o.vpn.ID()),
			SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
		o.api("turning the source check off", err)
		if seen, err := o.from(vpn, tunnel, stepAddress+":22"); err == nil {
			t.Errorf("without a route back, step answered %q", seen)
		}
		route := &ec2.CreateRouteInput{RouteTableId: aws.String(o.VPC().RouteTable), DestinationCidrBlock: aws.String("10.0.255.0/24"), InstanceId: aws.String(o.vpn.ID())}
		_, err = o.ec2.CreateRoute(within(t, 5*time.Second), route)
		o.api("adding the route", err)
		// step asks for the way back by ARP once a second, since before the route was there.
		seen := ""
		for range 8 {
			if seen, err = o.from(vpn, tunnel, stepAddress+":22"); err == nil {
				break
			}
		}
		if err != nil || !strings.HasPrefix(seen, tunnel+":") {
			t.Errorf("with check off and a route, step saw %q, %v; want %s", seen, err, tunnel)
		}
		_, err = o.ec2.DeleteRoute(within(t, 5*time.Second), &ec2.DeleteRouteInput{RouteTableId: route.RouteTableId, DestinationCidrBlock: route.DestinationCidrBlock})
		o.api("deleting the route", err)
		if seen, err := o.from(vpn, tunnel, stepAddress+":22"); err == nil {
			t.Errorf("with the route gone, step answered %q", seen)
		}
	})
	t.Run("names and addresses of the VPC are served", func(t *testing.T) {
		o.t = t
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return vpn.dial(ctx, network, vpcResolver+":53")
		}}
		got, err := resolver.LookupHost(within(t, 5*time.Second), "ip-10-0-2-2."+internalDomain)
		if err != nil || !cmp.Equal(got, []string{stepAddress}) {
			t.Errorf("ip-10-0-2-2 is %q, %v; want %q", got, err, stepAddress)
		}
	})
}

// TestMetadata asks 169.254.169.254 from instances, and from behind one.
func TestMetadata(t *testing.T) {
	needRoot(t)
	o := openOffice(t, "tmeta")
	vpn, step := instanceNS(o.vpn), instanceNS(o.step)

	for _, i := range []*Instance{o.vpn, o.step} {
		token, err := o.ask(instanceNS(i), http.MethodPut, "/latest/api/token", "")
		o.api("asking for a token", err)
		id, err := o.ask(instanceNS(i), http.MethodGet, "/latest/meta-data/instance-id", token)
		if err != nil || id != i.ID() {
			t.Errorf("%s is told that it is %q, %v; want %q", i.Name(), id, err, i.ID())
		}
	}
	if _, err := o.ask(vpn, http.MethodGet, "/latest/meta-data/instance-id", ""); err == nil {
		t.Error("without a token, the metadata service answers")
	}
	client := openNamespace(o.client.Namespace())
	if _, err := o.ask(client, http.MethodPut, "/latest/api/token", ""); err == nil {
		t.Error("the metadata service answers on the internet")
	}
	token, err := o.ask(step, http.MethodPut, "/latest/api/token", "")
	o.api("asking for a token", err)
	if got, err := o.ask(step, http.MethodGet, "/latest/meta-data/public-ipv4", token); err == nil {
		t.Errorf("step, which has no public address, is told %q", got)
	}

	t.Run("hop limit", func(t *testing.T) {
		o.t = t
		behind := o.behind(vpn)
		if _, err := o.ask(behind, http.MethodPut, "/latest/api/token", ""); err == nil {
			t.Error("with hop limit 1, a token came through the instance")
		}
		_, err := o.ec2.ModifyInstanceMetadataOptions(within(t, 5*time.Second), &ec2.ModifyInstanceMetadataOptionsInput{
			InstanceId: aws.String(o.vpn.ID()), HttpPutResponseHopLimit: aws.Int32(64), HttpTokens: types.HttpTokensStateRequired})
		o.api("raising the hop limit", err)
		if _, err := o.ask(behind, http.MethodPut, "/latest/api/token", ""); err != nil {
			t.Errorf("with hop limit 64, no token came through the instance: %v", err)
		}
	})
}

// ask makes one request to the metadata service; an answer other than 200 is
// an error.
func (o *office) ask(ns namespace, method, path, token string) (string, error) {
	ctx := within(o.t, 800*time.Millisecond)
	request, err := http.NewRequestWithContext(ctx, method, "http://"+metadataAddress+path, nil)
	if err != nil {
		return "", err
	}
	if method == http.MethodPut {
		request.Header.Set("X-aws-ec2-metadata-token-ttl-seconds", "60")
	}
	if token != "" {
		request.Header.Set("X-aws-ec2-metadata-token", token)
	}
	transport := &http.Transport{DialContext: ns.dial, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		return "", http.ErrNotSupported
	}
	return string(body), err
}

// behind makes a namespace whose packets the instance forwards and
// masquerades, as a client of a tunnel.
func (o *office) behind(instance namespace) namespace {
	o.t.Helper()
	ns := openNamespace(namespaceName(o.Name(), "behind"))
	o.api("making a client", ns.create())
	o.api("connecting it", connect(instance, "tunnel", ns, "tunnel", internetMTU, nil))
	o.api("addressing the instance", inside(instance, func(h *netlink.Handle) error { return setUp(h, "tunnel", "10.0.255.1/24") }))
	o.api("addressing the client", inside(ns, func(h *netlink.Handle) error {
		if err := setUp(h, "tunnel", "10.0.255.6/24"); err != nil {
			return err
		}
		return routeVia(h, "tunnel", "0.0.0.0/0", "10.0.255.1")
	}))
	o.api("forwarding", instance.do(func() error { return setSysctls(map[string]string{"net/ipv4/ip_forward": "1"}) }))
	nft := instance.command(within(o.t, 5*time.Second), "nft", "-f", "-")
	nft.Stdin = strings.NewReader("table ip nat { chain out { type nat hook postrouting priority srcnat; oifname \"ens5\" masquerade; }; }\n")
	out, err := nft.CombinedOutput()
	o.api("masquerading: "+string(out), err)
	return ns
}
