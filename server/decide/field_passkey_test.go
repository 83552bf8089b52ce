package decide

import (
	"testing"

	"muster/attest/posture"
)

// TestContradictions: only what is known of both sides, of a passkey that is built
// into the machine, can contradict.
func TestContradictions(t *testing.T) {
	builtIn := func(in *Inputs) {
		in.Visitor.Passkey.Platform, in.Visitor.Passkey.System = true, "linux"
		in.Visitor.Passkey.Format = "tpm"
		in.Visitor.Passkey.TPM = TPM{Manufacturer: "INTC", Model: "SPT", Firmware: "7.2.3.1"}
	}
	for _, test := range []struct {
		name    string
		change  func(*Inputs)
		os, tpm bool
	}{
		{"agree", func(*Inputs) {}, false, false},
		{"another system", func(in *Inputs) { in.Visitor.Passkey.System = "windows" }, true, false},
		{"another system, claimed only", func(in *Inputs) { in.Visitor.Passkey.System, in.Visitor.Passkey.Evidence = "darwin", evidenceNone }, true, false},
		{"no system", func(in *Inputs) { in.Visitor.Passkey.System = "" }, false, false},
		{"a laptop without a system", func(in *Inputs) { in.Device.Device.Platform = "" }, false, false},
		{"a laptop that was measured as another", func(in *Inputs) { in.Device.Boot.Platform = posture.Windows }, true, false},
		{"another system, and the laptop was measured as that", func(in *Inputs) {
			in.Visitor.Passkey.System, in.Device.Boot.Platform = "windows", posture.Windows
		}, false, false},
		{"measured, though it says nothing", func(in *Inputs) {
			in.Device.Device.Platform, in.Device.Boot.Platform = "", posture.Windows
		}, true, false},
		{"a key that was plugged in", func(in *Inputs) {
			in.Visitor.Passkey.System, in.Visitor.Passkey.Platform, in.Visitor.Passkey.TPM.Manufacturer = "windows", false, "AMD"
		}, false, false},
		{"a synced one", func(in *Inputs) {
			in.Visitor.Passkey.System, in.Visitor.Passkey.BackupEligible, in.Visitor.Passkey.TPM.Manufacturer = "windows", true, "AMD"
		}, false, false},
		{"asleep", func(in *Inputs) {
			in.Visitor.Passkey.System, in.Visitor.Session.Link.State = "windows", linkSuspended
		}, false, false},
		{"no link", func(in *Inputs) { in.Visitor.Passkey.System, in.Visitor.Session.Link.State = "windows", "" }, false, false},
		{"another vendor", func(in *Inputs) { in.Visitor.Passkey.TPM.Manufacturer = "AMD" }, false, true},
		{"the same vendor, padded", func(in *Inputs) { in.Device.Claims.TPM.Detail.Manufacturer = " intc\x00\x00" }, false, false},
		{"a vendor by name", func(in *Inputs) { in.Device.Claims.TPM.Detail.Manufacturer = "Intel Corporation" }, false, false},
		{"no vendor", func(in *Inputs) { in.Visitor.Passkey.TPM.Manufacturer = "\x00 " }, false, false},
		{"another model", func(in *Inputs) { in.Visitor.Passkey.TPM.Model = "SLB9670" }, false, true},
		{"a laptop without a model", func(in *Inputs) { in.Device.Claims.TPM.Detail.Model = "" }, false, false},
		{"another firmware", func(in *Inputs) { in.Visitor.Passkey.TPM.Firmware = "7.2.3.2" }, false, true},
		{"firmware in another form", func(in *Inputs) { in.Visitor.Passkey.TPM.Firmware = "id:00070002" }, false, false},
		{"fewer numbers", func(in *Inputs) { in.Visitor.Passkey.TPM.Firmware = "7.3" }, false, false},
		{"hexadecimal", func(in *Inputs) {
			in.Visitor.Passkey.TPM.Firmware, in.Device.Claims.TPM.Detail.Firmware = "0007000A", "0007000b"
		}, false, true},
		{"hexadecimal, the same", func(in *Inputs) {
			in.Visitor.Passkey.TPM.Firmware, in.Device.Claims.TPM.Detail.Firmware = "0007000A", "0007000a"
		}, false, false},
		{"words", func(in *Inputs) {
			in.Visitor.Passkey.TPM.Firmware, in.Device.Claims.TPM.Detail.Firmware = "beta.1", "beta.2"
		}, false, false},
		{"of another format", func(in *Inputs) { in.Visitor.Passkey.TPM.Manufacturer, in.Visitor.Passkey.Format = "AMD", "packed" }, false, false},
		{"not attested", func(in *Inputs) {
			in.Visitor.Passkey.TPM.Manufacturer, in.Visitor.Passkey.Evidence = "AMD", evidenceSelf
		}, false, false},
		{"a laptop that could not tell", func(in *Inputs) {
			in.Visitor.Passkey.TPM.Manufacturer, in.Device.Claims.TPM.State = "AMD", posture.Unknown
		}, false, false},
		{"a certificate of another vendor", func(in *Inputs) { in.TPM = TPM{Manufacturer: "AMD"} }, false, true},
		{"a certificate of the same, whatever the claim", func(in *Inputs) {
			in.TPM, in.Device.Claims.TPM.Detail.Manufacturer = TPM{"INTC", "SPT", "7.2.3.1"}, "AMD"
		}, false, false},
		{"certificates of two versions", func(in *Inputs) {
			in.TPM, in.Visitor.Passkey.TPM.Firmware = TPM{"INTC", "SPT", "id:00070002"}, "id:00070003"
		}, false, true},
		{"certificates of one version", func(in *Inputs) {
			in.TPM, in.Visitor.Passkey.TPM.Firmware = TPM{"INTC", "SPT", "id:00070002"}, "id:00070002"
		}, false, false},
		{"all at once", func(in *Inputs) {
			in.Visitor.Passkey.System, in.Visitor.Passkey.TPM = "windows", TPM{"AMD", "fTPM", "1.2.3.4"}
		}, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for field, want := range map[string]bool{"passkey.contradicts_os": test.os, "passkey.contradicts_tpm": test.tpm} {
				in := visiting("wiki")
				builtIn(&in)
				test.change(&in)
				if got := load(t, that(field)).Decide(in).Outcome == Allow; got != want {
					t.Errorf("%s is %v", field, got)
				}
				if got := load(t, that("!"+field)).Decide(in).Outcome == Allow; got == want {
					t.Errorf("!%s is %v", field, got)
				}
			}
		})
	}
}
