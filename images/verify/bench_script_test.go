// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && bench

package verify

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// byScript is what one writes without us: a shell script as user-data, which
// cloud-init runs once the machine is up. It reads the same secret with AWS's
// command line tool, starts the distribution's own unit, closes SSH when the
// tunnel stands, and sets the same tag. It proves nothing, revokes nobody and
// fetches no list of people. What Terraform would fill in is in braces.
var byScript = template.Must(template.New("user-data").Parse(`#!/bin/bash
set -euo pipefail
systemctl stop vpnami-firstboot vpnami-sync.timer
export AWS_DEFAULT_REGION={{.Region}}
export AWS_ENDPOINT_URL=$(sed -n 's/.*systemd.setenv=AWS_ENDPOINT_URL=\([^ ]*\).*/\1/p' /proc/cmdline)

cd /etc/openvpn/server
umask 077
aws secretsmanager get-secret-value --secret-id vpn/office/server --query SecretString --output text |
	python3 -c 'import json, sys; [open(name, "w").write(text) for name, text in json.load(sys.stdin).items() if isinstance(text, str)]'
cat >office.conf <<END
port 1194
proto udp4
dev tun0
topology subnet
server 10.8.0.0 255.255.255.0
ca ca
cert certificate
key key
dh none
tls-crypt-v2 tls_crypt_v2
keepalive 10 60
push "route 10.0.0.0 255.255.0.0"
persist-tun
persist-key
END
iptables -I INPUT -p udp --dport 1194 -j ACCEPT
iptables -I FORWARD -i tun0 -j ACCEPT
iptables -I FORWARD -o tun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -t nat -A POSTROUTING -s 10.8.0.0/24 -j MASQUERADE
sysctl -q net.ipv4.ip_forward=1
systemctl start openvpn-server@office
until ip -4 -o address show dev tun0 2>/dev/null | grep -q 10.8.0.1; do sleep 0.1; done
aws ec2 revoke-security-group-ingress --group-id {{.Group}} --protocol tcp --port 22 --cidr 0.0.0.0/0
aws ec2 create-tags --resources "$(cat /var/lib/cloud/data/instance-id)" --tags Key=vpnami:status,Value=ready
`))

// TestBenchScript measures whole machines under emulation, from their power-on to
// a gateway that serves and whose SSH is closed, as its tag says it: configured
// by firstboot, and, from the same image with awscli in it, by a script that
// cloud-init runs. In turns, and a client gets in each time.
func TestBenchScript(t *testing.T) {
	const rounds = 3
	var ours, script []time.Duration
	for i := range rounds {
		ours = append(ours, untilReady(t, "ours", byte(40+2*i), func(string) string { return "#vpnami\nrole: vpn\nsecret: vpn/office\n" }))
		t.Logf("power-on to ready, by firstboot          %8.1f s", ours[i].Seconds())
		script = append(script, untilReady(t, "script", byte(41+2*i), func(group string) string {
			var text bytes.Buffer
			if err := byScript.Execute(&text, map[string]string{"Region": lab.Region, "Group": group}); err != nil {
				t.Fatal(err)
			}
			return text.String()
		}))
		t.Logf("power-on to ready, by cloud-init         %8.1f s   %5.2f times as long", script[i].Seconds(), script[i].Seconds()/ours[i].Seconds())
	}
	t.Logf("median of %d: by firstboot %.1f s, by cloud-init and awscli %.1f s, %.2f times as long",
		rounds, median(ours).Seconds(), median(script).Seconds(), median(script).Seconds()/median(ours).Seconds())
}

// untilReady launches an instance of the image, and returns how long after its
// power-on the tag says that it is ready.
func untilReady(t *testing.T, name string, last byte, userData func(group string) string) time.Duration {
	t.Helper()
	private, public := netip.AddrFrom4([4]byte{10, 0, 1, last}), netip.AddrFrom4([4]byte{203, 0, 113, last})
	group := newGatewayGroup(t, name+public.String())
	vpn := launch(t, lab.LaunchSpec{Name: name, PrivateAddress: private, PublicAddress: public, Groups: []string{group}, UserData: userData(group)})
	defer terminate(t, vpn)
	ctx, client := within(t, bootTime()), ec2.NewFromConfig(theOffice.AWS())
	// EC2 is looked at from outside: to look into the machine would cost it time.
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		out, err := client.DescribeTags(ctx, &ec2.DescribeTagsInput{Filters: []types.Filter{
			{Name: aws.String("resource-id"), Values: []string{vpn.ID()}}, {Name: aws.String("key"), Values: []string{"vpnami:status"}}, {Name: aws.String("value"), Values: []string{"ready"}},
		}})
		if err != nil {
			console, _ := vpn.Console()
			t.Fatalf("waiting for %q to be ready: %v\n%s", name, err, console[max(0, len(console)-4000):])
		}
		if len(out.Tags) > 0 {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
	took := time.Since(vpn.Started())
	expectPort(t, host(t, "client1"), ssh(public), lab.PortFiltered)
	connect(t, host(t, "client1"), writeProfile(t, strings.ReplaceAll(read(t, theOffice.profile("client1")), gatewayPublic.String(), public.String())))
	return took
}
