package decide

import (
	"errors"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
	"muster/server/verify"
)

// The types of the enumerations. Each is a type of its own, so that comparing a
// level with a sensitivity is refused at load.
var (
	stateType       = cel.OpaqueType("state")
	sourceType      = cel.OpaqueType("source")
	tierType        = cel.OpaqueType("tier")
	levelType       = cel.OpaqueType("level")
	sensitivityType = cel.OpaqueType("sensitivity")
	linkType        = cel.OpaqueType("link_state")
	strengthType    = cel.OpaqueType("link_strength")
	// certificationType is of authenticators, by FIDO's levels.
	certificationType = cel.OpaqueType("certification")
)

// sensitivity says how much an application can hurt.
type sensitivity uint8

const (
	low sensitivity = iota
	medium
	high
	privileged
)

var sensitivityNames = [...]string{low: "low", medium: "medium", high: "high", privileged: "privileged"}

// symbol is a value of an enumeration inside CEL. Two that are equal are equal
// in Go as well: CEL looks members of a constant list up in a map.
type symbol struct {
	typ  *types.Type
	rank uint8 // orders the values of one type
}

// constant is a symbol with its name in the policy language.
type constant struct {
	symbol
	name string
}

// constants are those of the policy language. UNKNOWN is there only to be
// refused with a remedy: no comparison with it is ever true.
func constants() []constant {
	return []constant{
		{symbol{stateType, uint8(posture.Unknown)}, unknownName},
		{symbol{stateType, uint8(posture.Yes)}, "YES"},
		{symbol{stateType, uint8(posture.No)}, "NO"},
		{symbol{sourceType, uint8(posture.Reported)}, "REPORTED"},
		{symbol{sourceType, uint8(posture.Vendor)}, "VENDOR"},
		{symbol{sourceType, uint8(posture.Measured)}, "MEASURED"},
		{symbol{tierType, uint8(verify.Affirming)}, "AFFIRMING"},
		{symbol{tierType, uint8(verify.Warning)}, "WARNING"},
		{symbol{tierType, uint8(verify.Contraindicated)}, "CONTRAINDICATED"},
		{symbol{levelType, uint8(verify.Software)}, "SOFTWARE"},
		{symbol{levelType, uint8(verify.TPMUnverified)}, "TPM_UNVERIFIED"},
		{symbol{levelType, uint8(verify.SecureEnclave)}, "SECURE_ENCLAVE"},
		{symbol{levelType, uint8(verify.VTPM)}, "VTPM"},
		{symbol{levelType, uint8(verify.TPMListed)}, "TPM_LISTED"},
		{symbol{levelType, uint8(verify.TPMHardware)}, "TPM_HW"},
		{symbol{sensitivityType, uint8(low)}, "LOW"},
		{symbol{sensitivityType, uint8(medium)}, "MEDIUM"},
		{symbol{sensitivityType, uint8(high)}, "HIGH"},
		{symbol{sensitivityType, uint8(privileged)}, "PRIVILEGED"},
		{symbol{linkType, rankAbsent}, "ABSENT"},
		{symbol{linkType, rankSuspended}, "SUSPENDED"},
		{symbol{linkType, rankLive}, "LIVE"},
		{symbol{strengthType, rankCode}, "BY_CODE"},
		{symbol{strengthType, rankApp}, "BY_APP"},
		{symbol{strengthType, rankLoopback}, "BY_LOOPBACK"},
		{symbol{certificationType, 0}, "FIDO_NONE"},
		{symbol{certificationType, 1}, "FIDO_L1"},
		{symbol{certificationType, 2}, "FIDO_L2"},
		{symbol{certificationType, 3}, "FIDO_L3"},
	}
}

const unknownName = "UNKNOWN"

var errNotNative = errors.New("decide: the value has no form outside CEL")

// ConvertToNative is refused: nothing leaves CEL but a bool.
func (s symbol) ConvertToNative(reflect.Type) (any, error) { return nil, errNotNative }

// ConvertToType is refused: an enumeration is not a number or a string.
func (s symbol) ConvertToType(ref.Type) ref.Val { return types.WrapErr(errNotNative) }

// Equal compares within one type; the checker refuses the rest.
func (s symbol) Equal(other ref.Val) ref.Val {
	o, ok := other.(symbol)
	return types.Bool(ok && o.typ == s.typ && o.rank == s.rank)
}

// Type is the enumeration.
func (s symbol) Type() ref.Type { return s.typ }

// Value is the name, for explanations.
func (s symbol) Value() any {
	for _, c := range constants() {
		if c.symbol == s {
			return c.name
		}
	}
	return int64(s.rank)
}

// order compares two values of one ordered type; ok is false when they have
// none in common.
func order(a, b ref.Val) (cmp int, ok bool) {
	switch a := a.(type) {
	case symbol:
		b, same := b.(symbol)
		return int(a.rank) - int(b.rank), same && a.typ == b.typ
	case types.Int:
		b, same := b.(types.Int)
		return three(int64(a), int64(b)), same
	case types.Duration:
		b, same := b.(types.Duration)
		return three(int64(a.Duration), int64(b.Duration)), same
	}
	return 0, false
}

func three(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
