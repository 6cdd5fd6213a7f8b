// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package tlscrypt

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Opcodes of OpenVPN's ssl_pkt.h. The low three bits of the first byte are the
// key id, which is 0 in a first packet.
const (
	hardResetServerV2 = 8
	hardResetClientV3 = 10
	opcodeShift       = 3

	sessionSize = 8
	// The packet id of tls-crypt is always the long form: number, then time.
	packetIDSize = 8
	headerSize   = 1 + sessionSize + packetIDSize

	// EARLY_NEG_START of OpenVPN's ssl_pkt.h: a client counts from here to say
	// that it knows the handshake with a cookie, which a server with
	// force-cookie demands.
	earlyNegotiation = 0x0f000000
)

// Session is the random number by which a client names a handshake.
type Session [sessionSize]byte

// Hello is the first packet of a handshake, as a real client sends it. A
// server that holds the right key answers it; one with force-cookie keeps no
// state of it, so that asking leaves no trace but a line in the log.
func (c ClientKey) Hello(session Session, now time.Time) []byte {
	packet := []byte{hardResetClientV3 << opcodeShift}
	packet = append(packet, session[:]...)
	packet = binary.BigEndian.AppendUint32(packet, earlyNegotiation+1)
	packet = binary.BigEndian.AppendUint32(packet, uint32(now.Unix())) //nolint:gosec // the format has 32 bits

	// No acknowledgements, then message number 0 of the reliability layer.
	plain := []byte{0, 0, 0, 0, 0}
	// A client sends with the second key and receives with the first
	// (KEY_DIRECTION_INVERSE).
	sealed := sealControl(c.key[keySize:], packet, plain)
	packet = append(packet, sealed...)
	return append(packet, c.wrapped...)
}

// CheckAnswer tells by an error whether a packet is the answer to the Hello of
// this session by a server that holds the right key.
func (c ClientKey) CheckAnswer(session Session, packet []byte) error {
	if len(packet) < headerSize+tagSize {
		return fmt.Errorf("the answer has %d bytes, too few for OpenVPN's control channel", len(packet))
	}
	if opcode := packet[0] >> opcodeShift; opcode != hardResetServerV2 {
		return fmt.Errorf("the answer is a packet of kind %d, not OpenVPN's first answer (%d)", opcode, hardResetServerV2)
	}
	plain, ok := openControl(c.key[:keySize], packet)
	if !ok {
		return errors.New("the answer is not authentic: it was not made with this profile's tls-crypt-v2 key")
	}
	// Acknowledgements: how many, the numbers, and the session they are for.
	count := 0
	if len(plain) > 0 {
		count = int(plain[0])
	}
	end := 1 + 4*count + sessionSize
	if count == 0 || len(plain) < end || Session(plain[end-sessionSize:end]) != session {
		return errors.New("the answer is for another handshake")
	}
	return nil
}

func sealControl(key, header, plain []byte) []byte {
	tag := controlTag(key, header, plain)
	return append(tag, ctr(key[:usedSize], tag, plain)...)
}

func openControl(key, packet []byte) ([]byte, bool) {
	header, tag := packet[:headerSize], packet[headerSize:headerSize+tagSize]
	plain := ctr(key[:usedSize], tag, packet[headerSize+tagSize:])
	return plain, hmac.Equal(tag, controlTag(key, header, plain))
}

func controlTag(key, header, plain []byte) []byte {
	mac := hmac.New(sha256.New, key[hmacOffset:hmacOffset+usedSize])
	mac.Write(header)
	mac.Write(plain)
	return mac.Sum(nil)
}
