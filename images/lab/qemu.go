// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// machines boots the image's disk as a whole machine under qemu, as on
// Nitro: UEFI, NVMe, serial console.
type machines struct {
	topology topology
	firmware firmware
}

// firmware is OVMF, which distributions put in different places.
type firmware struct {
	code, vars string
}

func findFirmware() (firmware, error) {
	for _, f := range []firmware{
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
	} {
		if _, err := os.Stat(f.code); err == nil {
			return f, nil
		}
	}
	return firmware{}, errors.New("looking for OVMF in /usr/share/OVMF: install the package ovmf")
}

// Memory and processors of a machine: t3.micro's gigabyte, and both cores,
// because the instances mostly wait.
const (
	qemuMemory     = "1024"
	qemuProcessors = "2"
	// The volume is larger than the image, as on EC2, where Debian's and Ubuntu's
	// own AMIs ask for 8 GiB.
	qemuVolume = "8G"
)

func (e machines) plug(ctx context.Context, s station) error {
	overlay, vars := filepath.Join(s.disk, "disk.qcow2"), filepath.Join(s.disk, "vars.fd")
	if _, err := os.Stat(overlay); errors.Is(err, os.ErrNotExist) {
		out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", s.image, overlay, qemuVolume).CombinedOutput()
		if err != nil {
			return fmt.Errorf("making disk: %w: %s", err, lastLines(out, 3))
		}
		data, err := os.ReadFile(e.firmware.vars)
		if err != nil {
			return fmt.Errorf("making disk: %w", err)
		}
		if err := os.WriteFile(vars, data, 0o600); err != nil { //nolint:gosec // our own folder
			return fmt.Errorf("making disk: %w", err)
		}
	}
	return e.topology.plugTap(s.ns, s.name)
}

func (e machines) command(s station) (*exec.Cmd, error) {
	monitor := monitorPath(s)
	if err := os.Remove(monitor); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// TCG, not KVM: nested virtualisation hangs guests on some machines, and
	// where the lab runs cannot be known.
	cmd := e.topology.vpc.detached("qemu-system-x86_64",
		"-name", machineName(s), "-machine", "q35,smm=off", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-m", qemuMemory, "-smp", qemuProcessors, "-nodefaults", "-display", "none", "-no-user-config",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+e.firmware.code,
		"-drive", "if=pflash,format=raw,unit=1,file="+filepath.Join(s.disk, "vars.fd"),
		"-drive", "if=none,id=root,format=qcow2,file="+filepath.Join(s.disk, "disk.qcow2"),
		"-device", "nvme,drive=root,serial=vol0",
		"-netdev", "tap,id=net,ifname=p-"+s.name+",script=no,downscript=no",
		"-device", fmt.Sprintf("virtio-net-pci,netdev=net,mac=%s,host_mtu=%d", s.mac, vpcMTU),
		"-device", "virtio-rng-pci", "-serial", "stdio",
		"-qmp", "unix:"+monitor+",server=on,wait=off",
		// What EC2's firmware says of itself; cloud-init knows EC2 by it.
		"-smbios", "type=1,manufacturer=Amazon EC2,product=t3.micro,uuid="+hypervisorUUID(s)+",serial="+hypervisorUUID(s),
		"-smbios", "type=11,value=io.systemd.boot.kernel-cmdline-extra=systemd.setenv=AWS_ENDPOINT_URL="+s.endpoint,
	)
	return cmd, nil
}

// monitorPath is short: a unix socket's path has 107 bytes.
func monitorPath(s station) string { return filepath.Join(runDir(s.lab), s.name+".qmp") }

// rebooted: a guest that reboots stays in its qemu.
func (e machines) rebooted(*os.ProcessState) bool { return false }

// shutdown presses the power button. A reboot is a shutdown after which the
// machine is started again.
func (e machines) shutdown(s station, _ machineOrder) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", monitorPath(s))
	if err != nil {
		return fmt.Errorf("calling qemu: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	in := bufio.NewScanner(conn)
	for _, command := range []string{"qmp_capabilities", "system_powerdown"} {
		if err := json.NewEncoder(conn).Encode(map[string]string{"execute": command}); err != nil {
			return fmt.Errorf("telling qemu %q: %w", command, err)
		}
		if err := readReturn(in); err != nil {
			return fmt.Errorf("telling qemu %q: %w", command, err)
		}
	}
	return nil
}

func readReturn(in *bufio.Scanner) error {
	for in.Scan() {
		var reply struct {
			Return json.RawMessage `json:"return"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(in.Bytes(), &reply); err != nil {
			return err
		}
		if reply.Error != nil {
			return fmt.Errorf("qemu answers %s", bytes.TrimSpace(reply.Error))
		}
		if reply.Return != nil {
			return nil
		}
	}
	return errors.Join(errors.New("qemu gave no answer"), in.Err())
}

func (e machines) kill(_ station, cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (e machines) release(s station) error {
	if err := os.Remove(monitorPath(s)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
