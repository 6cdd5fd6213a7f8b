// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sys/unix"
)

// tags is what report needs of *ec2.Client.
type tags interface {
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
}

const (
	statusTag = "vpnami:status"
	detailTag = "vpnami:status-detail"
	// maxTag is AWS's limit for a tag's value, in characters:
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
	maxTag = 256
	// tagWithin: a tag that cannot be set must not hold up the result, and what
	// a run took before it counts towards the 5 seconds in which it is told.
	tagWithin = askWithin
	// consoleWithin: a line at 9,600 baud takes a tenth of it.
	consoleWithin = time.Second
)

// tag is one of the instance's.
type tag struct{ key, value string }

// tagInstance puts the result where "aws ec2 describe-instances" shows it.
func tagInstance(ctx context.Context, service tags, r Result) error {
	detail := strings.TrimPrefix(r.Line(), string(r.State)+": ")
	return setTags(ctx, service, r.Instance, tag{statusTag, string(r.State)}, tag{detailTag, detail})
}

func setTags(ctx context.Context, service tags, instance string, set ...tag) error {
	ctx, cancel := context.WithTimeout(ctx, tagWithin)
	defer cancel()
	in := &ec2.CreateTagsInput{Resources: []string{instance}}
	keys := make([]string, 0, len(set))
	for _, each := range set {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(each.key), Value: aws.String(shorten(each.value, maxTag))})
		keys = append(keys, strconv.Quote(each.key))
	}
	if _, err := service.CreateTags(ctx, in); err != nil {
		return fmt.Errorf("tagging instance %q with %s=%s: %w; allow the instance's role ec2:CreateTags on itself for the keys %s",
			instance, set[0].key, set[0].value, explain(err), strings.Join(keys, " and "))
	}
	return nil
}

func shorten(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-3]) + "..."
}

// console writes lines for people to the machine's console, which
// "aws ec2 get-console-output" shows. That it cannot be written to changes
// nothing of the boot: the journal has the same.
type console struct{ to io.Writer }

func (c console) say(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	_, _ = fmt.Fprintf(c.to, "vpnami: %s\n", text)
}

// openConsole opens the device anew for each line: a console that hangs up in
// between comes back.
type openConsole string

func (path openConsole) Write(data []byte) (int, error) {
	// O_NOCTTY, or it would become the controlling terminal; O_NONBLOCK, so that
	// the deadline holds: a serial line with flow control could hold up the boot.
	device, err := os.OpenFile(string(path), os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	// What is no terminal (a file, in a test) knows no deadline.
	_ = device.SetWriteDeadline(time.Now().Add(consoleWithin))
	n, err := device.Write(data)
	if closeErr := device.Close(); err == nil {
		err = closeErr
	}
	return n, err
}
