// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Publish is what was last published under a prefix.
type Publish struct {
	Generation uint64    `json:"generation"`
	Content    string    `json:"content,omitempty"` // hash of what was put, to tell it from what another copy of the folder put
	Time       time.Time `json:"time"`
}

// Published reads what was published, by prefix.
func (f Folder) Published() (map[string]Publish, error) {
	raw, err := os.ReadFile(f.at("published.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Publish{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was published: %w", err)
	}
	published := map[string]Publish{}
	if err := decode(raw, &published); err != nil {
		return nil, fmt.Errorf("reading what was published: %q: %w", f.at("published.json"), err)
	}
	return published, nil
}

// RecordPublish keeps a generation, before it is put: a generation is never
// used twice, also when the publish breaks off. So a lower one, that of a
// publish which changes only tags after one that broke off, takes nothing back.
func (f Folder) RecordPublish(now time.Time, prefix string, generation uint64, content string) error {
	published, err := f.Published()
	if err != nil {
		return err
	}
	if generation >= published[prefix].Generation {
		published[prefix] = Publish{Generation: generation, Content: content, Time: now.UTC().Truncate(time.Second)}
	}
	raw, err := encode(published)
	if err != nil {
		return fmt.Errorf("writing what is published: %w", err)
	}
	if err := f.Log(now, Entry{Action: "publish", Name: prefix, Detail: fmt.Sprintf("generation %d", generation)}); err != nil {
		return err
	}
	return Replace(f.at("published.json"), privateFile, raw)
}
