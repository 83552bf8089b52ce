package bootlog

import "bytes"

// Where command lines are measured: GRUB's commands, and systemd-boot's line before
// systemd 252; what systemd's stub was given.
const (
	grubPCR = 8
	stubPCR = 12
)

// readCommandLines lists what GRUB and systemd measured as text. A line that was
// measured and is not in the log would be missing without a word, so that every
// event of both PCRs must be bound.
func readCommandLines(w *working) Fact[[]CommandLine] {
	var lines []CommandLine
	var text []byte
	count, size := 0, 0
	for _, pcr := range [...]int{grubPCR, stubPCR} {
		if !w.explained(pcr) {
			return unknown[[]CommandLine](NotReplayed)
		}
		for i := range w.steps(pcr) {
			count++
			size += min(len(w.event(&w.steps(pcr)[i]).Body), MaxCommandLine)
		}
	}
	for _, pcr := range [...]int{grubPCR, stubPCR} {
		for i := range w.steps(pcr) {
			s := &w.steps(pcr)[i]
			if s.mark != noMark {
				continue
			}
			if text == nil {
				text = make([]byte, 0, size+count)
			}
			before := len(text)
			var bound bool
			if text, bound = w.line(text, pcr, s); !bound {
				return unknown[[]CommandLine](Unbound)
			}
			if len(text) == before {
				continue
			}
			if lines == nil {
				lines = make([]CommandLine, 0, count)
			}
			lines = append(lines, CommandLine{Event: int(s.number), PCR: uint8(pcr)})
			text = append(text, 0)
		}
	}
	if len(lines) == 0 {
		return unknown[[]CommandLine](NotLogged)
	}
	// One string holds them all, so that a line costs no allocation.
	all := string(text)
	for i := range lines {
		end := bytes.IndexByte(text, 0)
		lines[i].Text, all, text = all[:end], all[end+1:], text[end+1:]
	}
	return known(lines[0].PCR, lines[0].Event, lines)
}

// grubPrefixes are what GRUB puts before a text in the log and does not measure, so
// that they are not bound and not told (grub-core/commands/tpm.c; the last three
// are those of Red Hat's and Ubuntu's patches before GRUB 2.04).
var grubPrefixes = [...]string{
	"grub_cmd: ", "kernel_cmdline: ", "module_cmdline: ", "grub_cmd ", "grub_kernel_cmdline ", "grub_module_cmdline ",
}

// line appends the text of a step if its bytes are bound. What it says depends on
// the measured bytes alone, however the log frames them: all that GRUB measures is
// text; in the stub's PCR, which Windows uses for its own, only UTF-16 is.
func (w *working) line(to []byte, pcr int, s *step) (text []byte, bound bool) {
	measured, bound := w.grub(s)
	if !bound {
		measured, bound = w.body(s)
	}
	switch {
	case !bound:
		return to, false
	case isUTF16Text(measured):
		return appendUTF16(to, measured, MaxCommandLine), true
	case pcr == grubPCR:
		return appendText(to, measured, MaxCommandLine), true
	}
	return to, true
}

// grub returns the part of a body that GRUB measured.
func (w *working) grub(s *step) (measured []byte, bound bool) {
	b := w.event(s).Body
	for _, prefix := range grubPrefixes {
		if len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix {
			measured = trimZero(b[len(prefix):])
			return measured, w.hashesTo(measured, w.digest(s))
		}
	}
	return nil, false
}
