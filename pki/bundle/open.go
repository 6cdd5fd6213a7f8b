// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"errors"
	"time"
)

var errNotYet = errors.New("opening the secret: not built yet")

// OpenServer reads the server secret.
func OpenServer(raw []byte) (Server, error) { return Server{}, errNotYet }

// OpenHead reads the access head.
func OpenHead(raw []byte) (Head, error) { return Head{}, errNotYet }

// OpenAccess puts the shards together, in the order of the head.
func OpenAccess(head Head, shards [][]byte) (Access, error) { return Access{}, errNotYet }

// Open reads and validates everything.
func Open(server, head []byte, shards [][]byte, now time.Time) (Bundle, []Warning, error) {
	return Bundle{}, nil, errNotYet
}

// Sealed is the values of the secrets.
type Sealed struct {
	Server, Head []byte
	Shards       [][]byte
}

// Seal makes the values of the secrets under prefix.
func Seal(server Server, access Access, prefix string, generation uint64) (Sealed, error) {
	return Sealed{}, errNotYet
}
