// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
)

const (
	// documentHead is the first line of our document: by it cloud-init, and a
	// person, tell it from the other things that user-data may be.
	documentHead = "#vpnami"
	// documentType is the MIME type of our document as a part of an archive.
	documentType = "text/vpnami"

	// maxUnpacked bounds what 16 KiB of compressed user-data may become.
	maxUnpacked = 1 << 20
	// maxNesting: cloud-init's tools write archives of one level; one in
	// another has been seen; more is an attack or a mistake.
	maxNesting = 3
)

// findDocument returns our document in the user-data: the user-data itself, or
// a part of a MIME archive; either may be compressed, and the whole in base64. It
// returns nil when there is none.
func findDocument(userData []byte) ([]byte, error) {
	// Encoded twice, by a person and again by a tool: cloud-init takes that from
	// EC2 too (its version 22.1 and later). No document is valid base64: "#" is
	// none of its letters, nor is a MIME header's ":".
	if twice, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(userData))); err == nil {
		userData = twice
	}
	found, err := search(userData, "", 0)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	default:
		return nil, fmt.Errorf("the user-data has %d documents of vpnami: one is allowed", len(found))
	}
}

func search(data []byte, mediaType string, depth int) ([][]byte, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("the user-data has archives in archives, more than %d deep", maxNesting)
	}
	data, err := unpack(data)
	if err != nil {
		return nil, err
	}
	// A mark that some editors put in front of a text.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if startsWithHead(data) {
		return [][]byte{data}, nil
	}
	if mediaType == documentType {
		return nil, fmt.Errorf("the part of type %q of the user-data does not begin with the line %q", documentType, documentHead)
	}
	message, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return nil, nil //nolint:nilerr // not an archive: something for cloud-init
	}
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == documentType:
		body, err := decode(message.Body, message.Header.Get(encodingHeader))
		if err != nil {
			return nil, fmt.Errorf("reading the user-data of type %q: %w", documentType, err)
		}
		return search(body, kind, depth+1)
	case err != nil || !strings.HasPrefix(kind, "multipart/"):
		return nil, nil //nolint:nilerr // as above
	}
	var found [][]byte
	for parts := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the MIME archive in the user-data: %w", err)
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			kind = ""
		}
		body, err := decode(part, part.Header.Get(encodingHeader))
		if errors.Is(err, errEncoding) && kind != documentType && !startsWithHead(body) {
			continue // for cloud-init, which knows more of them
		}
		if err != nil {
			return nil, fmt.Errorf("reading part %q of the MIME archive in the user-data: %w", part.FileName(), err)
		}
		if strings.HasPrefix(kind, "multipart/") {
			// A part has its headers before it, as the whole archive has.
			body = append([]byte("Content-Type: "+part.Header.Get("Content-Type")+"\r\n\r\n"), body...)
		}
		inner, err := search(body, kind, depth+1)
		if err != nil {
			return nil, err
		}
		found = append(found, inner...)
	}
}

func startsWithHead(data []byte) bool {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return string(bytes.TrimRight(line, " \t\r")) == documentHead
}

// unpack decompresses what is gzip, and returns anything else as it is.
func unpack(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompressing the user-data: %w", err)
	}
	return limited(reader)
}

const encodingHeader = "Content-Transfer-Encoding"

var errEncoding = errors.New("allowed are base64, 7bit, 8bit and binary")

// decode returns what an unknown encoding is of as it is, with the error.
func decode(body io.Reader, encoding string) ([]byte, error) {
	switch encoding = strings.ToLower(strings.TrimSpace(encoding)); encoding {
	case "base64":
		return limited(base64.NewDecoder(base64.StdEncoding, body))
	case "", "7bit", "8bit", "binary":
		return limited(body)
	default:
		raw, err := limited(body)
		return raw, errors.Join(fmt.Errorf("its %s is %q: %w", encodingHeader, encoding, errEncoding), err)
	}
}

func limited(from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking the user-data: %w", err)
	}
	if len(data) > maxUnpacked {
		return nil, fmt.Errorf("the user-data unpacks to more than %d bytes", maxUnpacked)
	}
	return data, nil
}
