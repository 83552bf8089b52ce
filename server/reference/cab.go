package reference

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Cabinet files ([MS-CAB]), of which Microsoft's TrustedTpm.cab is one: stored or
// MSZIP, in one part. The signature behind it is not looked at; who imports it
// answers for where it is from.

// Limits of a cabinet. Microsoft's has 2193 files, 2.5 MB packed and 3.4 unpacked.
const (
	maxCab        = 16 << 20
	maxCabFiles   = 16384
	maxCabFolders = 64
	maxUnpacked   = 64 << 20
	maxName       = 512
	cabBlock      = 32 << 10 // what a block of data unpacks to, at most
)

var (
	errCabShort  = errors.New("the cabinet is cut off")
	errCabLarge  = fmt.Errorf("the cabinet unpacks to more than %d bytes", maxUnpacked)
	errCabMethod = errors.New("the cabinet is packed in a way that is not read here: unpack it, and import the folder")
	errCabParts  = errors.New("the cabinet is one of several parts: unpack it, and import the folder")
)

// cabReader reads a cabinet from front to back.
type cabReader struct {
	b    []byte
	at   int
	bad  bool // something lay behind the end
	left int  // how much may yet be unpacked
}

func (r *cabReader) take(n int) []byte {
	if n < 0 || r.at > len(r.b)-n {
		r.bad = true
		return make([]byte, max(0, min(n, 8)))
	}
	part := r.b[r.at : r.at+n]
	r.at += n
	return part
}

func (r *cabReader) u8() int  { return int(r.take(1)[0]) }
func (r *cabReader) u16() int { return int(binary.LittleEndian.Uint16(r.take(2))) }
func (r *cabReader) u32() int { return int(binary.LittleEndian.Uint32(r.take(4))) }

// name reads a text that ends with a zero.
func (r *cabReader) name() string {
	part := r.b[min(r.at, len(r.b)):min(r.at+maxName, len(r.b))]
	n := bytes.IndexByte(part, 0)
	if n < 0 {
		r.bad = true
		return ""
	}
	r.at += n + 1
	return strings.ReplaceAll(string(part[:n]), `\`, "/")
}

type cabHeader struct {
	filesAt, folders, files int
	folderExtra, dataExtra  int // reserved bytes of each
}

// readCab returns the files of a cabinet, in order. Names are as they stand there
// and lead nowhere: nothing is written.
func readCab(b []byte) ([]BundleFile, error) {
	if len(b) > maxCab {
		return nil, fmt.Errorf("the cabinet has more than %d bytes", maxCab)
	}
	r := &cabReader{b: b, left: maxUnpacked}
	h, err := r.header()
	if err != nil {
		return nil, err
	}
	folders := make([][]byte, h.folders)
	for i := range folders {
		if folders[i], err = r.folder(h); err != nil {
			return nil, err
		}
	}
	r.at = h.filesAt
	files := make([]BundleFile, 0, h.files)
	total := 0
	for range h.files {
		size, from, folder := r.u32(), r.u32(), r.u16()
		r.take(6) // date, time, attributes
		name := r.name()
		switch {
		case r.bad:
			return nil, errCabShort
		case folder >= 0xfffd:
			return nil, errCabParts
		case folder >= len(folders) || from > len(folders[folder]) || size > len(folders[folder])-from:
			return nil, fmt.Errorf("file %s of the cabinet lies outside of it", quote(name))
		}
		// Files may overlap, and so hold more together than what was unpacked.
		if total += size; total > maxUnpacked {
			return nil, errCabLarge
		}
		files = append(files, BundleFile{Name: name, Data: folders[folder][from : from+size : from+size]})
	}
	return files, nil
}

func (r *cabReader) header() (*cabHeader, error) {
	const previous, next, reserve = 1, 2, 4
	magic := string(r.take(4))
	r.take(4)
	size := r.u32()
	r.take(4)
	h := &cabHeader{filesAt: r.u32()}
	r.take(6) // reserved, version
	h.folders, h.files = r.u16(), r.u16()
	flags := r.u16()
	r.take(4) // set, index
	switch {
	case magic != "MSCF" || r.bad:
		return nil, errors.New("it is not a cabinet")
	case size > len(r.b):
		return nil, errCabShort
	case flags&(previous|next) != 0:
		return nil, errCabParts
	case h.folders > maxCabFolders || h.files > maxCabFiles:
		return nil, fmt.Errorf("the cabinet has %d folders and %d files; at most %d and %d are read", h.folders, h.files, maxCabFolders, maxCabFiles)
	}
	if flags&reserve != 0 {
		extra := r.u16()
		h.folderExtra, h.dataExtra = r.u8(), r.u8()
		r.take(extra)
	}
	if r.bad {
		return nil, errCabShort
	}
	return h, nil
}

// folder unpacks one folder: a run of blocks that share what was unpacked before.
func (r *cabReader) folder(h *cabHeader) ([]byte, error) {
	const stored, mszip = 0, 1
	at, blocks, method := r.u32(), r.u16(), r.u16()&0xf
	r.take(h.folderExtra)
	back := r.at
	if r.bad {
		return nil, errCabShort
	}
	if method != stored && method != mszip {
		return nil, errCabMethod
	}
	var all []byte
	r.at = at
	for i := range blocks {
		r.take(4) // a checksum against bad disks; it proves nothing, and may be absent
		packed, size := r.u16(), r.u16()
		r.take(h.dataExtra)
		data := r.take(packed)
		if r.bad {
			return nil, errCabShort
		}
		if r.left -= size; r.left < 0 {
			return nil, errCabLarge
		}
		// Every block but the last is full, so that there are no more than fit.
		if method == stored && packed != size || size > cabBlock || size < cabBlock && i < blocks-1 {
			return nil, errors.New("a block of the cabinet does not have its size")
		}
		if method == mszip {
			var err error
			if data, err = inflate(data, all, size); err != nil {
				return nil, err
			}
		}
		all = append(all, data...)
	}
	r.at = back
	return all, nil
}

// inflate unpacks one MSZIP block, whose dictionary is what came before it in the
// folder ([MS-MCI] §2.1).
func inflate(block, before []byte, size int) ([]byte, error) {
	packed, ok := bytes.CutPrefix(block, []byte("CK"))
	if !ok {
		return nil, errors.New("a block of the cabinet is not MSZIP")
	}
	z := flate.NewReaderDict(bytes.NewReader(packed), before[max(0, len(before)-cabBlock):])
	data, err := io.ReadAll(io.LimitReader(z, int64(size)+1))
	if err != nil || len(data) != size {
		return nil, errors.New("a block of the cabinet does not unpack to its size")
	}
	return data, nil
}
