package passkey

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"muster/server/reference"
)

// altName is an alternative name whose directory name has these attributes.
func altName(t *testing.T, attributes ...pkix.AttributeTypeAndValue) []byte {
	t.Helper()
	var directory pkix.RDNSequence
	for _, a := range attributes {
		directory = append(directory, pkix.RelativeDistinguishedNameSET{a})
	}
	inner, err := asn1.Marshal(directory)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: inner}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func tcg(n int, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 23, 133, 2, n}, Value: value}
}

func TestTPMNames(t *testing.T) {
	long := strings.Repeat("a", maxTPMName+1)
	for _, c := range []struct {
		name  string
		der   []byte
		want  tpmName
		there bool
	}{
		{"Intel", altName(t, tcg(1, "id:494E5443"), tcg(2, "CML"), tcg(3, "id:000B0000")), tpmName{"INTC", "CML", "id:000B0000"}, true},
		{"filled up", altName(t, tcg(1, "id:414d4400"), tcg(2, "AMD"), tcg(3, "id:1")), tpmName{"AMD", "AMD", "id:1"}, true},
		{"filled up with a space", altName(t, tcg(1, "id:4E544320"), tcg(2, "NPCT"), tcg(3, "id:1")), tpmName{"NTC", "NPCT", "id:1"}, true},
		{"any order", altName(t, tcg(3, "id:1"), tcg(1, "id:49465800"), tcg(2, "m")), tpmName{"IFX", "m", "id:1"}, true},
		{"the conformance tools' vendor", altName(t, tcg(1, "id:fffff1d0"), tcg(2, "m"), tcg(3, "id:1")), tpmName{"id:FFFFF1D0", "m", "id:1"}, true},
		{"a vendor in words", altName(t, tcg(1, "Maker"), tcg(2, "m"), tcg(3, "1")), tpmName{"Maker", "m", "1"}, true},
		{"a short id", altName(t, tcg(1, "id:4946"), tcg(2, "m"), tcg(3, "1")), tpmName{"id:4946", "m", "1"}, true},
		{"an id of nothing", altName(t, tcg(1, "id:00000000"), tcg(2, "m"), tcg(3, "1")), tpmName{"id:00000000", "m", "1"}, true},
		{"an id with a hole", altName(t, tcg(1, "id:49004649"), tcg(2, "m"), tcg(3, "1")), tpmName{"id:49004649", "m", "1"}, true},
		{"the same twice", altName(t, tcg(1, "id:49465800"), tcg(2, "m"), tcg(2, "m"), tcg(3, "1")), tpmName{"IFX", "m", "1"}, true},
		{"two models", altName(t, tcg(1, "id:49465800"), tcg(2, "m"), tcg(2, "n"), tcg(3, "1")), tpmName{}, true},
		{"two vendors", altName(t, tcg(1, "id:49465800"), tcg(1, "id:494E5443"), tcg(2, "m"), tcg(3, "1")), tpmName{}, true},
		{"a long model", altName(t, tcg(1, "id:49465800"), tcg(2, long), tcg(3, "1")), tpmName{}, true},
		{"a line break", altName(t, tcg(1, "id:49465800"), tcg(2, "m\nn"), tcg(3, "1")), tpmName{}, true},
		{"letters that look alike", altName(t, tcg(1, "id:49465800"), tcg(2, "\u0430"), tcg(3, "1")), tpmName{}, true},
		{"no version", altName(t, tcg(1, "id:49465800"), tcg(2, "m")), tpmName{}, false},
		{"an empty model", altName(t, tcg(1, "id:49465800"), tcg(2, ""), tcg(3, "1")), tpmName{}, false},
		{"numbers", altName(t, tcg(1, 1), tcg(2, 2), tcg(3, 3)), tpmName{}, false},
		{"a common name", altName(t, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "id:49465800"}), tpmName{}, false},
		{"nothing", nil, tpmName{}, false},
		{"a byte more", append(altName(t, tcg(1, "a"), tcg(2, "m"), tcg(3, "1")), 0), tpmName{}, false},
	} {
		if got, there := tpmNames(c.der); got != c.want || there != c.there {
			t.Errorf("%s: %+v, %v", c.name, got, there)
		}
	}
}

// TestSystemOf: what is said to be of one system is called so by its maker, and
// nothing else of that name is left out.
func TestSystemOf(t *testing.T) {
	words := map[string]string{"Windows Hello": "windows", "Chrome on Mac": "darwin", "Edge on Mac": "darwin"}
	found := map[string]int{}
	for _, text := range []string{"08987058-cadc-4b81-b6e1-30de50dcbe96", "9ddd1817-af5a-4672-a2b9-3e3dd95000a9", "6028b017-b1d4-4c02-b4b3-afcdafc96bb2",
		"adce0002-35bc-c60a-648b-0b25f1f05503", "771b48fd-d3d4-4f74-9232-fc157ab0507a"} {
		var model reference.AAGUID
		if err := model.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		name := reference.ModelName(model)
		if got := SystemOf(model); got == "" || got != words[name] {
			t.Errorf("%s, called %q, is of %q", text, name, got)
		}
		found[name]++
		model[15] ^= 1
		if got := SystemOf(model); got != "" {
			t.Errorf("a neighbour of %s is of %q", text, got)
		}
	}
	if len(found) != len(words) || found["Windows Hello"] != 3 {
		t.Errorf("found %v", found)
	}
	for _, text := range []string{"00000000-0000-0000-0000-000000000000", "fbfc3007-154e-4ecc-8c0b-6e020557d7bd", "dd4ec289-e01d-41c9-bb89-70fa845d4bf2",
		"ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4", "b5397666-4885-aa6b-cebf-e52262a439a2", "bada5566-a7aa-401f-bd96-45619a55120d"} {
		var model reference.AAGUID
		if err := model.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := SystemOf(model); got != "" {
			t.Errorf("%s is of %q", text, got)
		}
	}
}
