// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

const stepDocument = "#vpnami\nrole: step\n"

// archive is a launch's document beside one for cloud-init.
const archive = `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="part"

--part
Content-Type: text/cloud-config

#cloud-config
write_files:
- path: /var/tmp/of-cloud-init
  content: obeyed
--part
Content-Type: text/vpnami

#vpnami
role: step
--part--
`

func compressed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestUserDataForms: in every form that the README shows, the instance becomes
// what the document says, and cloud-init takes nothing amiss and does its part.
func TestUserDataForms(t *testing.T) {
	forms := []struct{ name, userData string }{
		{"archive", archive},
		{"gzip", compressed(t, stepDocument)},
		{"gziparc", compressed(t, archive)},
		{"base64", base64.StdEncoding.EncodeToString([]byte(stepDocument))},
	}
	instances := make([]*lab.Instance, len(forms))
	for i, form := range forms {
		instances[i] = launch(t, lab.LaunchSpec{
			Name: form.name, PrivateAddress: netip.AddrFrom4([4]byte{10, 0, 2, byte(40 + i)}),
			Groups: []string{theOffice.VPC().GroupStep}, UserData: form.userData,
		})
	}
	for i, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			step := instances[i]
			if r := ready(t, step); r.Role != "step" {
				t.Errorf("it is %q", r.Role)
			}
			out, err := step.Exec(within(t, bootTime()), "cloud-init", "status", "--wait", "--long")
			if err != nil || strings.Contains(out, "degraded") {
				t.Errorf("cloud-init: %v\n%s", err, out)
			}
			if strings.Contains(form.name, "arc") && inside(t, step, "cat", "/var/tmp/of-cloud-init") != "obeyed" {
				t.Error("cloud-init did not do its part")
			}
		})
	}
	t.Run("without cloud-init", func(t *testing.T) {
		// As an image that never had it: its units do not run, and the first
		// boot has nothing to build on.
		step := instances[0]
		inside(t, step, "sh", "-c", "touch /etc/cloud/cloud-init.disabled && rm -rf /var/lib/vpnami/* /var/lib/cloud/*")
		if err := step.Reboot(within(t, bootTime())); err != nil {
			t.Fatal(err)
		}
		if r := ready(t, step); r.Role != "step" {
			t.Errorf("it is %q", r.Role)
		}
		if out, _ := step.Exec(within(t, bootTime()), "cloud-init", "status"); !strings.Contains(out, "disabled") {
			t.Errorf("cloud-init is %s", out)
		}
	})
}
