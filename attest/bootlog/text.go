package bootlog

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// trimZero takes the one zero byte away that may end a text.
func trimZero(b []byte) []byte { return bytes.TrimSuffix(b, []byte{0}) }

// isText tells whether a body is this text.
func isText(b []byte, text string) bool { return string(trimZero(b)) == text }

// isPrintable tells whether bytes are printable ASCII.
func isPrintable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// maxText bounds the text of SbatLevel.
const maxText = 16 << 10

// readText reads printable ASCII in lines, which may end in a zero byte.
func readText(b []byte) (text string, ok bool) {
	if len(b) > maxText {
		return "", false
	}
	b = trimZero(b)
	for _, c := range b {
		if (c < 0x20 && c != '\n' && c != '\r') || c > 0x7e {
			return "", false
		}
	}
	return string(b), true
}

// appendText appends bytes as UTF-8, at most limit of them. What is none, and a
// zero, becomes a question mark, so that the text is never longer than the bytes.
func appendText(to, b []byte, limit int) []byte {
	end := len(to) + limit
	for len(b) > 0 {
		plain := 0
		for plain < len(b) && b[plain]-1 < utf8.RuneSelf-1 {
			plain++
		}
		plain = min(plain, end-len(to))
		to, b = append(to, b[:plain]...), b[plain:]
		r, size := utf8.DecodeRune(b)
		if size == 0 || len(to)+size > end {
			break
		}
		if r == 0 || (r == utf8.RuneError && size == 1) {
			r = '?'
		}
		to, b = utf8.AppendRune(to, r), b[size:]
	}
	return to
}

// appendUTF16 appends UTF-16LE up to a zero as UTF-8, at most limit bytes of it. Half
// a character becomes a question mark.
func appendUTF16(to, b []byte, limit int) []byte {
	end := len(to) + limit
	for ; len(b) >= 2; b = b[2:] {
		r := rune(binary.LittleEndian.Uint16(b))
		if r == 0 {
			break
		}
		if utf16.IsSurrogate(r) {
			low := rune(0)
			if len(b) >= 4 {
				low = rune(binary.LittleEndian.Uint16(b[2:]))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				r = '?'
			} else {
				b = b[2:]
			}
		}
		if len(to)+utf8.RuneLen(r) > end {
			break
		}
		to = utf8.AppendRune(to, r)
	}
	return to
}

// isUTF16Text tells whether bytes are UTF-16LE that ends in its only zero.
func isUTF16Text(b []byte) bool {
	if len(b) < 4 || len(b)%2 != 0 {
		return false
	}
	for i := 0; i < len(b)-2; i += 2 {
		if c := binary.LittleEndian.Uint16(b[i:]); c < 0x20 && c != '\t' && c != '\n' {
			return false
		}
	}
	return b[len(b)-2] == 0 && b[len(b)-1] == 0
}
