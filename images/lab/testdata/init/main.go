// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command init is PID 1 of the lab's smallest machine: it does nothing but
// take the orders that systemd takes by signal. The tests of the fabric boot
// it, so that they need no baked image.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	orders := make(chan os.Signal, 8)
	signal.Notify(orders)
	// nspawn gives PID 1 the container's console as its output.
	fmt.Println("init: up")
	for s := range orders {
		n, ok := s.(syscall.Signal)
		if !ok {
			continue
		}
		switch n - 34 { // SIGRTMIN
		case 3, 4:
			stop("power off", syscall.LINUX_REBOOT_CMD_POWER_OFF)
		case 5:
			stop("reboot", syscall.LINUX_REBOOT_CMD_RESTART)
		}
		if n == syscall.SIGCHLD {
			var status syscall.WaitStatus
			for pid := 1; pid > 0; {
				pid, _ = syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			}
		}
	}
}

func stop(what string, how int) {
	fmt.Println("init:", what)
	if err := syscall.Reboot(how); err != nil {
		fmt.Println("init:", err)
	}
}
