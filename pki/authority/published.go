// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Place is where something is published: secrets of one prefix may be in several
// regions, each with generations of its own.
type Place struct{ Region, Prefix string }

// MarshalText gives "eu-central-1:vpn/office".
func (p Place) MarshalText() ([]byte, error) { return []byte(p.Region + ":" + p.Prefix), nil }

// UnmarshalText reads what MarshalText gives.
func (p *Place) UnmarshalText(text []byte) error {
	region, prefix, ok := strings.Cut(string(text), ":")
	if !ok {
		return fmt.Errorf("%q is not a region, a colon and a prefix", text)
	}
	p.Region, p.Prefix = region, prefix
	return nil
}

// Publish is what was last published at a place.
type Publish struct {
	Generation uint64 `json:"generation"`
	// Contents are hashes of all that was ever put, the last at the end, also what
	// broke off: anything else that is there was put by another copy of the folder.
	Contents []string `json:"contents,omitempty"`
	Content  string   `json:"content,omitempty"` // the last alone, of folders from before
	// Told is a hash of what the gateways there are told, whatever the generation; empty,
	// where the last publish broke off.
	Told string    `json:"told,omitempty"`
	Time time.Time `json:"time"`
}

// Published reads what was published, by place.
func (f Folder) Published() (map[Place]Publish, error) {
	raw, err := os.ReadFile(f.at("published.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return map[Place]Publish{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was published: %w", err)
	}
	published := map[Place]Publish{}
	if err := decode(raw, &published); err != nil {
		return nil, fmt.Errorf("reading what was published: %q: %w: put it back from your newest copy of the folder, or remove it and publish with --replace, if this is the newest copy", f.at("published.json"), err)
	}
	for place, last := range published {
		if last.Content != "" {
			last.Contents, last.Content = append(last.Contents, last.Content), ""
			published[place] = last
		}
	}
	return published, nil
}

// RecordPublish keeps a generation, before it is put: a generation is never
// used twice, also when the publish breaks off. So a lower one, that of a
// publish which changes only tags after one that broke off, takes nothing back.
func (f Folder) RecordPublish(now time.Time, place Place, generation uint64, content string) error {
	published, err := f.Published()
	if err != nil {
		return err
	}
	last := published[place]
	last.Contents = append(slices.DeleteFunc(last.Contents, func(c string) bool { return c == content }), content)
	last.Told = "" // until it is there
	last.Generation, last.Time = max(last.Generation, generation), now.UTC().Truncate(time.Second)
	published[place] = last
	file, err := f.publishedFile(published)
	if err != nil {
		return err
	}
	return f.replaceLogged(now, file, Entry{Action: "publish", Name: place.Prefix, Detail: fmt.Sprintf("generation %d in %s", generation, place.Region)})
}

// RecordTold keeps what the gateways of a place are told, once it is there.
func (f Folder) RecordTold(place Place, told string) error {
	published, err := f.Published()
	if err != nil {
		return err
	}
	last := published[place]
	last.Told = told
	published[place] = last
	file, err := f.publishedFile(published)
	if err != nil {
		return err
	}
	return Replace(file.Path, file.Mode, file.Data)
}

func (f Folder) publishedFile(published map[Place]Publish) (NewFile, error) {
	raw, err := encode(published)
	if err != nil {
		return NewFile{}, fmt.Errorf("writing what is published: %w", err)
	}
	return NewFile{f.at("published.json"), privateFile, raw}, nil
}
