// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"
)

// progress shows stages: on a terminal one line that lives while the stage
// runs, elsewhere plain lines that a log can keep.
type progress struct {
	w     io.Writer
	live  bool
	paint paint
}

// paint colours words, on a terminal that wants it.
type paint struct {
	good, bad, dim lipgloss.Style
}

func newProgress(out *os.File) *progress {
	p := &progress{w: out, live: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"}
	// https://no-color.org
	if p.live && os.Getenv("NO_COLOR") == "" {
		p.paint = paint{
			good: lipgloss.NewStyle().Foreground(lipgloss.Green),
			bad:  lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true),
			dim:  lipgloss.NewStyle().Faint(true),
		}
	}
	return p
}

// note lets a running stage say what it is at.
type note struct {
	mu   sync.Mutex
	text string
}

func (n *note) set(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = fmt.Sprintf(format, args...)
}

func (n *note) get() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text
}

// stage runs one stage and shows it with its time. What the stage last noted
// stays on its line.
func (p *progress) stage(ctx context.Context, name string, do func(ctx context.Context, n *note) error) error {
	var n note
	start := time.Now()
	stop := p.spin(name, start, &n)
	err := do(ctx, &n)
	stop()
	took := seconds(time.Since(start))
	mark, text := p.paint.good.Render("ok"), n.get()
	if err != nil {
		mark, text = p.paint.bad.Render("no"), "failed"
	}
	fmt.Fprintf(p.w, "%s  %-34s %8s  %s\n", mark, name, took, p.paint.dim.Render(text))
	return err
}

// spin keeps the live line until the returned function is called.
func (p *progress) spin(name string, start time.Time, n *note) func() {
	if !p.live {
		fmt.Fprintf(p.w, "..  %s\n", name)
		return func() {}
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		frames := []string{"|", "/", "-", "\\"}
		// Ten pictures a second look like motion.
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for k := 0; ; k++ {
			fmt.Fprintf(p.w, "\r\033[K%s   %-34s %8s  %s", frames[k%len(frames)], name, seconds(time.Since(start)), p.paint.dim.Render(n.get()))
			select {
			case <-done:
				fmt.Fprint(p.w, "\r\033[K")
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(done)
		<-gone
	}
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
