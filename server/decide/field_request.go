package decide

import (
	"fmt"
	"net/netip"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// inNetwork asks whether an address lies in one of some networks.
const inNetwork = "in_network"

// maxNetworks of one in_network.
const maxNetworks = 16

// requestFields are known only at the check.
func requestFields() []field {
	of := func(name string, typ *cel.Type, read func(*Request) ref.Val) field {
		return field{path: "request." + name, claim: "request", typ: typ, read: func(r *reading) ref.Val { return read(r.request) }}
	}
	return []field{
		of("method", cel.StringType, func(q *Request) ref.Val { return textValue(q.Method) }),
		of("path", cel.StringType, func(q *Request) ref.Val { return textValue(q.Path) }),
		of("address", addressType, func(q *Request) ref.Val {
			if !q.Address.IsValid() {
				return nil
			}
			return address{q.Address.Unmap().WithZone("")}
		}),
		of("country", cel.StringType, func(q *Request) ref.Val { return textValue(q.Country) }),
		of("asn", cel.IntType, func(q *Request) ref.Val {
			if q.ASN == 0 {
				return nil
			}
			return types.Int(q.ASN)
		}),
		of("upgrade", cel.BoolType, func(q *Request) ref.Val { return types.Bool(q.Upgrade) }),
	}
}

// address is an IP address inside CEL: unmapped, without a zone.
type address struct{ ip netip.Addr }

var addressType = cel.OpaqueType("address")

// ConvertToNative is refused: nothing leaves CEL but a bool.
func (a address) ConvertToNative(reflect.Type) (any, error) { return nil, errNotNative }

// ConvertToType is refused: as text an address could be compared with half of one.
func (a address) ConvertToType(ref.Type) ref.Val { return types.WrapErr(errNotNative) }

// Equal compares with another address.
func (a address) Equal(other ref.Val) ref.Val { return types.Bool(a == other) }

// Type is address.
func (a address) Type() ref.Type { return addressType }

// Value is the address as text, for explanations.
func (a address) Value() any { return a.ip.String() }

// networkFunction declares in_network, with as many networks as anybody writes.
func networkFunction() cel.EnvOption {
	var overloads []cel.FunctionOpt
	args := []*cel.Type{addressType}
	for n := range maxNetworks {
		args = append(args[:len(args):len(args)], cel.StringType)
		overloads = append(overloads, cel.Overload(fmt.Sprintf("%s_%d", inNetwork, n+1), args, cel.BoolType))
	}
	return cel.Function(inNetwork, append(overloads, cel.SingletonFunctionBinding(func(args ...ref.Val) ref.Val {
		a, ok := args[0].(address)
		if !ok {
			return types.NewErr("%v is no address", args[0])
		}
		for _, written := range args[1:] {
			network, err := parseNetwork(string(written.(types.String)))
			if err != nil {
				return types.WrapErr(err)
			}
			if network.Contains(a.ip) {
				return types.True
			}
		}
		return types.False
	}))...)
}

// parseNetwork reads 10.0.0.0/8. An address inside a network, or IPv4 dressed up
// as IPv6, would not match what its author thinks.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is no network: write one as in '10.0.0.0/8' or '2001:db8::/32'", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s is an address inside a network: write '%s'", s, p.Masked())
	}
	return p, nil
}
