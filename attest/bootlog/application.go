package bootlog

import (
	"bytes"
	"encoding/binary"
)

// applicationPCR holds what firmware and boot loaders started (PFP §3.3.4.5).
const applicationPCR = 4

// readApplications lists the programs that were started. Their digests are of the
// programs (Authenticode), so that their bodies are not bound. What is not a
// separator and not an action is a program.
func readApplications(w *working) Fact[[]Application] {
	at, reason := w.firmware(applicationPCR)
	if reason != "" {
		return unknown[[]Application](reason)
	}
	steps := w.steps(applicationPCR)
	first := int(steps[at].number)
	var list []Application
	var call, back [maxDigest]byte
	w.bank.sum(&call, []byte(callAction))
	w.bank.sum(&back, []byte(returnAction))
	for i := range steps {
		s := &steps[i]
		digest := w.digest(s)
		if s.mark != noMark || bytes.HasPrefix(call[:], digest) || bytes.HasPrefix(back[:], digest) || w.isAction(s) {
			continue
		}
		if list == nil {
			list = make([]Application, 0, len(steps)-i)
			first = int(s.number)
		}
		list = append(list, Application{
			Event: int(s.number), Digest: digest, Path: imagePath(w.event(s).Body), Early: i < at,
		})
	}
	return known(applicationPCR, first, list)
}

// Actions that UEFI firmware measures in PCR 4 (PFP §10.4.4). They are told by their
// digests, so that their bodies do not matter.
const (
	callAction   = "Calling EFI Application from Boot Option"
	returnAction = "Returning from EFI Application from Boot Option"
)

// maxAction is the length of the longest action of other firmware, amply.
const maxAction = 128

// isAction tells whether a step is an action that nobody started: a bound body of
// printable ASCII. A bound body alone is not enough: whoever has a program has the
// bytes that hash to its digest, and could hide it so. No program is printable.
func (w *working) isAction(s *step) bool {
	b := w.event(s).Body
	if len(b) == 0 || len(b) > maxAction || !isPrintable(trimZero(b)) {
		return false
	}
	_, bound := w.body(s)
	return bound
}

// maxPath bounds the path of a program.
const maxPath = 512

// imagePath reads the file paths out of an EFI_IMAGE_LOAD_EVENT's device path (PFP
// §10.2.3, UEFI 2.10 §10.3.5.4); empty when there are none, or the body is odd.
func imagePath(b []byte) string {
	const head = 4 * 8
	if len(b) < head {
		return ""
	}
	path := b[head:]
	if size := binary.LittleEndian.Uint64(b[head-8:]); size < uint64(len(path)) {
		path = path[:size]
	}
	var text []byte
	for len(path) >= 4 {
		size := int(binary.LittleEndian.Uint16(path[2:]))
		if size < 4 || size > len(path) {
			break
		}
		if path[0] == 0x04 && path[1] == 0x04 { // media, file path
			text = appendUTF16(text, path[4:size], maxPath)
		}
		path = path[size:]
	}
	return string(text)
}
