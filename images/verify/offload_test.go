// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && offload

package verify

import (
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// TestOffload boots an image whose OpenVPN is 2.7 and whose kernel has the module
// ovpn (vpnami-bootstrap's option backports), and sees the kernel carry the data
// (make verify-offload).
func TestOffload(t *testing.T) {
	if theOffice.Engine() != lab.Qemu {
		t.Fatal("this needs the image's own kernel: LAB_VM=qemu")
	}
	client := host(t, "client1")
	vpn := launch(t, lab.LaunchSpec{
		Name: "vpn", PrivateAddress: gatewayPrivate, PublicAddress: gatewayPublic,
		Groups: []string{theOffice.VPC().GroupVPN}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n",
	})
	r := ready(t, vpn)
	t.Logf("kernel %s, %s", inside(t, vpn, "uname", "-r"), strings.Split(inside(t, vpn, "sh", "-c", "openvpn --version || true"), " [")[0])
	if raw := string(r.Raw); strings.Contains(raw, "offload") {
		t.Errorf("the result warns of it:\n%s", raw)
	}

	t.Run("the log says that the device is offloaded", func(t *testing.T) {
		if log := daemonLog(t, vpn); !regexp.MustCompile(`DCO device tun0 opened`).MatchString(log) {
			t.Errorf("it does not:\n%s", log)
		}
		inside(t, vpn, "test", "!", "-e", "/sys/class/net/tun0/tun_flags")
	})
	t.Run("connect and disconnect are both recorded", func(t *testing.T) {
		session := connect(t, client, theOffice.profile("client1"))
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
		recorded(t, vpn, regexp.MustCompile(`\[client1\] Peer Connection Initiated with`), regexp.MustCompile(`client1/\S+ SIGTERM\[soft,(remote|delayed)-exit\] received`))
	})
	t.Run("AppArmor lets it do that", func(t *testing.T) { underProfile(t, vpn, client, host(t, "client2")) })
	t.Run("the kernel is quicker", func(t *testing.T) {
		var on, off []float64
		for range 3 {
			on = append(on, throughput(t, vpn, client))
			inside(t, vpn, "sh", "-ec", "cp -p /usr/lib/vpnami/offload.conf /root/kept; echo disable-dco >>/usr/lib/vpnami/offload.conf; systemctl restart openvpn-server@vpn.service")
			off = append(off, throughput(t, vpn, client))
			inside(t, vpn, "sh", "-ec", "mv /root/kept /usr/lib/vpnami/offload.conf; systemctl restart openvpn-server@vpn.service")
		}
		t.Logf("throughput with offload %.1f Mbit/s, without %.1f: %.1f times (of emulated machines)", middle(on), middle(off), middle(on)/middle(off))
		if middle(on) <= middle(off) {
			t.Error("it is not: does the kernel carry the data at all?")
		}
	})
	t.Run("and when it is off all the same, the next run says so", func(t *testing.T) {
		inside(t, vpn, "sh", "-ec", "systemctl stop openvpn-server@vpn.service; rmmod ovpn; rm /usr/lib/modules-load.d/vpnami-ovpn.conf; echo 'install ovpn /bin/false' >/etc/modprobe.d/x.conf")
		inside(t, vpn, "systemctl", "restart", "vpnami-firstboot.service")
		if r := ready(t, vpn); !strings.Contains(string(r.Raw), "data channel offload is off") {
			t.Errorf("it does not:\n%s", r.Raw)
		}
	})
}

// sink takes in what one client sends, and says how much that was.
const sink = `
import socket
s = socket.create_server(('', 5201))
c, _ = s.accept()
n = 0
while d := c.recv(1 << 16): n += len(d)
c.send(b'%d' % n)
`

// throughput is how many Mbit/s a client brings to the gateway through the tunnel.
func throughput(t *testing.T, vpn *lab.Instance, client *lab.Host) float64 {
	t.Helper()
	const lasts = 8 * time.Second
	session := connect(t, client, theOffice.profile("client1"))
	inUnit(t, vpn, "--collect", "--unit", "sink", "python3", "-c", sink)
	var speed float64
	withoutRule(t, vpn, []ruleChange{{"-I", "INPUT", "1", "-i", "tun0", "-p", "tcp", "--dport", "5201", "-j", "ACCEPT"}}, func() {
		conn := dialed(t, client, "10.0.255.1:5201")
		defer conn.Close()
		block := make([]byte, 1<<16)
		began := time.Now()
		for time.Since(began) < lasts {
			if _, err := conn.Write(block); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		arrived, err := strconv.ParseInt(string(said), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		speed = float64(arrived) * 8 / 1e6 / time.Since(began).Seconds()
	})
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	return speed
}

// dialed connects as soon as somebody listens there.
func dialed(t *testing.T, from *lab.Host, address string) *net.TCPConn {
	t.Helper()
	var err error
	for range 60 {
		var conn net.Conn
		if conn, err = from.DialContext(within(t, 5*time.Second), "tcp", address); err == nil {
			return conn.(*net.TCPConn)
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

func middle(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }
