package tpmtest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"testing"

	"muster/attest/tpmtest"
)

// counts reads resetCount and restartCount by TPM2_ReadClock.
func counts(t *testing.T, x *tpmtest.TPM) (reset, restart uint32) {
	t.Helper()
	response, err := x.Send([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81})
	if err != nil || len(response) != 10+25 {
		t.Fatalf("ReadClock: %v, %x", err, response)
	}
	return binary.BigEndian.Uint32(response[26:]), binary.BigEndian.Uint32(response[30:])
}

func TestCountersFollowWhatHappens(t *testing.T) {
	x := tpmtest.Start(t)
	reset, restart := counts(t, x)
	check := func(did string, wantReset, wantRestart uint32) {
		t.Helper()
		if gotReset, gotRestart := counts(t, x); gotReset != wantReset || gotRestart != wantRestart {
			t.Fatalf("%s: reset %d restart %d, want %d %d", did, gotReset, gotRestart, wantReset, wantRestart)
		}
	}
	x.Reboot()
	check("reboot", reset+1, 0)
	x.Suspend()
	check("suspend", reset+1, restart+1)
	x.Crash()
	check("crash", reset+2, 0)
	x.Stop()
	if _, err := x.Send([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81}); err == nil {
		t.Fatal("a stopped TPM answers")
	}
	x.Restart()
	check("power cycle", reset+3, 0)
	x.Clear()
	check("clear", 0, 0)
}

func TestAuthorityIsShared(t *testing.T) {
	authority := tpmtest.NewAuthority(t)
	a := tpmtest.Start(t, tpmtest.From(authority))
	b := tpmtest.Start(t, tpmtest.From(authority))
	other := tpmtest.Start(t)
	if !bytes.Equal(a.Roots(), b.Roots()) || bytes.Equal(a.Roots(), other.Roots()) {
		t.Fatal("two chips of one authority must have its roots, and a third must not")
	}
	if a.Setting() == b.Setting() {
		t.Fatal("two chips answer at one address")
	}
	for i, rest := 0, a.Roots(); i < 2; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			t.Fatalf("certificate %d of the roots is missing", i)
		}
	}
}
