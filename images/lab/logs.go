// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// CollectLogs is [Lab.CollectLogs] for the lab of that name, which may have
// come up in part only: then it is the logs of those parts. A lab that made
// none leaves the folder alone.
func CollectLogs(ctx context.Context, name, dir string, log *slog.Logger) error {
	l, err := Open(ctx, name, log)
	if err == nil {
		return l.CollectLogs(ctx, dir)
	}
	if err := checkLabName(name); err != nil {
		return fmt.Errorf("collecting logs: %w", err)
	}
	return collectLogs(logDir(name), dir)
}

// collectLogs copies the logs alone.
func collectLogs(from, dir string) error {
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for the user who ran sudo
		return fmt.Errorf("collecting logs: %w", err)
	}
	if err := copyLogs(from, dir); err != nil {
		return fmt.Errorf("collecting logs: %w", err)
	}
	return nil
}

// CollectLogs copies the log of every station into a folder, with what the
// instances and the fabric can still say: journals, results, rules. It takes
// what it can get, and tells what it could not. Keys and secrets are in none
// of them. The folder is made if need be; what else is in it stays.
func (l *Lab) CollectLogs(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for the user who ran sudo
		return fmt.Errorf("collecting logs: %w", err)
	}
	errs := []error{copyLogs(l.LogDir(), dir)}
	// A station that does not answer must not hold the others up.
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if instances, err := l.Instances(ctx); err == nil {
		for _, i := range instances {
			errs = append(errs, i.collect(ctx, dir))
		}
	} else {
		errs = append(errs, err)
	}
	vpc := openNamespace(namespaceName(l.options.Name, "vpc"))
	for file, args := range map[string][]string{
		"vpc-rules.txt":  {"nft", "list", "ruleset"},
		"vpc-routes.txt": {"ip", "route", "show", "table", "all"},
	} {
		out, err := vpc.command(ctx, args[0], args[1:]...).CombinedOutput()
		errs = append(errs, err, writeLog(filepath.Join(dir, file), out))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("collecting logs: %w", err)
	}
	return nil
}

func copyLogs(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = writeLog(filepath.Join(to, e.Name()), data)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func writeLog(path string, data []byte) error {
	return os.WriteFile(path, data, 0o644) //nolint:gosec // for the user who ran sudo
}

func (i *Instance) collect(ctx context.Context, dir string) error {
	if !i.machine.Running {
		return nil
	}
	var errs []error
	for file, args := range map[string][]string{
		"journal-" + i.machine.Name + ".txt": {"journalctl", "--no-pager", "--output=short-precise"},
		"result-" + i.machine.Name + ".json": {"cat", resultPath},
		"rules-" + i.machine.Name + ".txt":   {"nft", "list", "ruleset"},
	} {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		out, err := i.Exec(one, args...)
		cancel()
		if err != nil {
			out += "\n" + err.Error() + "\n" // told in the file; the rest goes on
		}
		errs = append(errs, writeLog(filepath.Join(dir, file), []byte(out)))
	}
	return errors.Join(errs...)
}
