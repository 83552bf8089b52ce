package bootlog

import "encoding/binary"

// variable is a UEFI_VARIABLE_DATA (PFP §10.2.6): a UEFI variable as measured.
type variable struct {
	vendor [16]byte // GUID as in memory
	name   []byte   // UTF-16LE, without terminator
	data   []byte
}

// Vendors of the variables that this package reads (UEFI 2.10 §3.3, §32.6.1; shim's
// SHIM_LOCK).
var (
	globalVendor   = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	securityVendor = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	shimVendor     = [16]byte{0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23}
)

// variableHead is the length of a variable's vendor and two lengths.
const variableHead = 16 + 8 + 8

// maxSlack is how many zero bytes may follow a variable: shim before 15.3 hashed the
// padding of its own structure.
const maxSlack = 8

// readVariable reads a variable from a bound body.
func readVariable(b []byte) (v variable, ok bool) {
	if len(b) < variableHead {
		return v, false
	}
	copy(v.vendor[:], b)
	name := binary.LittleEndian.Uint64(b[16:])
	data := binary.LittleEndian.Uint64(b[24:])
	rest := b[variableHead:]
	if name > uint64(len(rest))/2 {
		return v, false
	}
	v.name, rest = rest[:2*name], rest[2*name:]
	if data > uint64(len(rest)) {
		return v, false
	}
	v.data, rest = rest[:data:data], rest[data:]
	return v, len(rest) <= maxSlack && isAll(rest, 0)
}

// is tells whether a variable has this vendor and name.
func (v *variable) is(vendor [16]byte, name string) bool {
	if v.vendor != vendor || len(v.name) != 2*len(name) {
		return false
	}
	for i := range len(name) {
		if v.name[2*i] != name[i] || v.name[2*i+1] != 0 {
			return false
		}
	}
	return true
}

// maxName bounds the name of a variable that is told to people.
const maxName = 64

// known returns a variable's name for people: printable ASCII, else "?".
func (v *variable) title() string {
	for _, name := range [...]string{"db", "Shim", "MokList", "MokListRT", "vendor_db"} {
		if v.is(v.vendor, name) {
			return name
		}
	}
	if len(v.name) > 2*maxName {
		return "?"
	}
	name := make([]byte, 0, maxName)
	for i := 0; i+1 < len(v.name); i += 2 {
		if c := v.name[i]; v.name[i+1] != 0 || c < 0x20 || c > 0x7e {
			return "?"
		}
		name = append(name, v.name[i])
	}
	return string(name)
}
