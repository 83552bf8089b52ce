package decide

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Evidence of a passkey.
const (
	evidenceNone     = "none"
	evidenceSelf     = "self"
	evidenceAttested = "attested"
)

// maxCertification is the highest FIDO level that policies know.
const maxCertification = 3

// passkeyFields are of a passkey whose evidence was judged: of one without,
// which nobody filled in, nothing is known.
func passkeyFields() []field {
	evidence := []string{evidenceNone, evidenceSelf, evidenceAttested}
	judged := func(p *Passkey) bool { return slices.Contains(evidence, p.Evidence) }
	of := func(name string, typ *cel.Type, read func(*Passkey) ref.Val, values ...string) field {
		return field{path: "passkey." + name, claim: "passkey", typ: typ, values: values, read: func(r *reading) ref.Val {
			if p := &r.in.Visitor.Passkey; judged(p) {
				return read(p)
			}
			return nil
		}}
	}
	flag := func(name string, read func(*Passkey) bool) field {
		return of(name, cel.BoolType, func(p *Passkey) ref.Val { return types.Bool(read(p)) })
	}
	return []field{
		of("evidence", cel.StringType, func(p *Passkey) ref.Val { return types.String(p.Evidence) }, evidence...),
		flag("attested", func(p *Passkey) bool { return p.Evidence == evidenceAttested }),
		// An AAGUID that nothing vouches for is a claim, and good for display only.
		of("aaguid", cel.StringType, func(p *Passkey) ref.Val {
			if p.Evidence != evidenceAttested {
				return nil
			}
			return textValue(p.AAGUID)
		}),
		of("format", cel.StringType, func(p *Passkey) ref.Val { return textValue(p.Format) }),
		of("certification", certificationType, certification),
		flag("backup_eligible", func(p *Passkey) bool { return p.BackupEligible }),
		flag("backup_state", func(p *Passkey) bool { return p.BackupState }),
		flag("clone_warning", func(p *Passkey) bool { return p.CloneWarning }),
		of("bad", cel.StringType, func(p *Passkey) ref.Val { return types.String(p.Bad) }),
		of("weak", cel.ListType(cel.StringType), func(p *Passkey) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, p.Weak) }),
		{path: "passkey.age", claim: "passkey", typ: cel.DurationType, since: func(r *reading) time.Time {
			if p := &r.in.Visitor.Passkey; judged(p) {
				return p.CreatedAt
			}
			return time.Time{}
		}},
		flag("platform", func(p *Passkey) bool { return p.Platform }),
	}
}

// certification counts a level only where the model is proved.
func certification(p *Passkey) ref.Val {
	switch {
	case p.Evidence != evidenceAttested:
		return symbol{certificationType, 0}
	case p.Certification < 0 || p.Certification > maxCertification:
		return nil
	}
	return symbol{certificationType, uint8(p.Certification)}
}

// crossChecks hold the passkey against the laptop. They are true only where both
// sides are known and cannot both be right, so that they can only tighten.
func crossChecks() []field {
	check := func(name string, contradicts func(*Passkey, *Inputs) bool) field {
		return field{path: "passkey." + name, claim: "passkey", typ: cel.BoolType, read: func(r *reading) ref.Val {
			// A synced passkey, or a key that was plugged in, says nothing of the laptop.
			p := &r.in.Visitor.Passkey
			if r.known&aboutDevice == 0 || !p.Platform || p.BackupEligible {
				return types.False
			}
			return types.Bool(contradicts(p, r.in))
		}}
	}
	return []field{check("contradicts_os", contradictsOS), check("contradicts_tpm", contradictsTPM)}
}

// contradictsOS: authenticators of this model are built into machines of another
// system than the laptop's: the one that was measured, or else the one that it says.
func contradictsOS(p *Passkey, in *Inputs) bool {
	laptop := string(cmp.Or(in.Device.Boot.Platform, in.Device.Device.Platform))
	return p.System != "" && laptop != "" && p.System != laptop
}

// contradictsTPM: the TPM that attested the passkey is not the laptop's.
func contradictsTPM(p *Passkey, in *Inputs) bool {
	if p.Format != "tpm" || p.Evidence != evidenceAttested {
		return false
	}
	own := in.TPM
	if claim := &in.Device.Claims.TPM; own == (TPM{}) && told(claim.State) {
		own = TPM{claim.Detail.Manufacturer, claim.Detail.Model, claim.Detail.Firmware}
	}
	return differ(p.TPM.Manufacturer, own.Manufacturer, isVendor) ||
		differ(p.TPM.Model, own.Model, func(string, string) bool { return true }) ||
		differ(strings.TrimPrefix(p.TPM.Firmware, "id:"), strings.TrimPrefix(own.Firmware, "id:"), sameForm)
}

// differ compares two words about a TPM, where both are there and comparable.
func differ(a, b string, comparable func(a, b string) bool) bool {
	a, b = strings.Trim(a, "\x00 "), strings.Trim(b, "\x00 ")
	return a != "" && b != "" && comparable(a, b) && !strings.EqualFold(a, b)
}

// isVendor: both are vendor ids, which have four characters; a name written out is
// not to be held against one.
func isVendor(a, b string) bool { return len(a) <= 4 && len(b) <= 4 }

// sameForm: both are numbers joined by as many dots, or both are as many
// hexadecimal digits. Firmware has no single way to be written.
func sameForm(a, b string) bool {
	const decimal, hexadecimal = "0123456789.", "0123456789abcdefABCDEF"
	switch dots := strings.Count(a, "."); {
	case dots > 0:
		return dots == strings.Count(b, ".") && strings.Trim(a, decimal) == "" && strings.Trim(b, decimal) == ""
	default:
		return len(a) == len(b) && strings.Trim(a, hexadecimal) == "" && strings.Trim(b, hexadecimal) == ""
	}
}
