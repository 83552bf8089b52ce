package posture_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest/posture"
)

func observedAt() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 7, time.FixedZone("x", 3600)) }

// text is what State and Source have in common.
type text interface {
	fmt.Stringer
	MarshalText() ([]byte, error)
}

func TestTextForms(t *testing.T) {
	for _, c := range []struct {
		value text
		name  string
	}{
		{posture.Unknown, "unknown"}, {posture.Yes, "yes"}, {posture.No, "no"},
		{posture.Reported, "reported"}, {posture.Vendor, "vendor"}, {posture.Measured, "measured"},
	} {
		b, err := c.value.MarshalText()
		if err != nil || string(b) != c.name || c.value.String() != c.name {
			t.Errorf("%v writes %q (%v)", c.value, b, err)
		}
	}
	for _, c := range []text{posture.State(3), posture.State(255), posture.Source(3), posture.Source(255)} {
		if b, err := c.MarshalText(); err == nil || slices.Contains([]string{"", "yes", "measured"}, c.String()) {
			t.Errorf("%v writes %q", c, b)
		}
	}
}

func TestTextFormsAreExact(t *testing.T) {
	var s posture.State
	var o posture.Source
	for i, name := range []string{"unknown", "yes", "no"} {
		if err := s.UnmarshalText([]byte(name)); err != nil || s != posture.State(i) {
			t.Errorf("%q reads as %v (%v)", name, s, err)
		}
	}
	for i, name := range []string{"reported", "vendor", "measured"} {
		if err := o.UnmarshalText([]byte(name)); err != nil || o != posture.Source(i) {
			t.Errorf("%q reads as %v (%v)", name, o, err)
		}
	}
	for _, bad := range []string{"", "Yes", "YES", "yes ", " yes", "ye", "true", "1", "unknow", "Reported", "measured\n"} {
		s, o = posture.Unknown, posture.Reported
		if s.UnmarshalText([]byte(bad)) == nil || o.UnmarshalText([]byte(bad)) == nil || s != posture.Unknown || o != posture.Reported {
			t.Errorf("%q reads as %v, %v", bad, s, o)
		}
	}
}

// TestZeroSaysNothing: a report that nobody filled in affirms nothing.
func TestZeroSaysNothing(t *testing.T) {
	var c posture.Claims
	for name, claim := range c.Each() {
		if claim.State != posture.Unknown || claim.Source != posture.Reported {
			t.Errorf("%s is %v, %v", name, claim.State, claim.Source)
		}
	}
}

func TestObserved(t *testing.T) {
	c := posture.Observed(observedAt(), posture.No, posture.NoTPM, posture.TPM{Version: "1.2"})
	if c.State != posture.No || c.Reason != posture.NoTPM || c.Source != posture.Reported || c.Detail.Version != "1.2" {
		t.Errorf("observed is %+v", c)
	}
	if got := c.ObservedAt.Format(time.RFC3339Nano); got != "2026-11-22T11:00:00Z" {
		t.Errorf("observed at %s", got)
	}
	u := posture.Unseen[posture.TPM](observedAt(), posture.Timeout)
	if u.State != posture.Unknown || u.Reason != posture.Timeout || u.Detail != (posture.TPM{}) {
		t.Errorf("unseen is %+v", u)
	}
	all := posture.Unfilled(observedAt(), posture.NotYet)
	for name, claim := range all.Each() {
		if claim.State != posture.Unknown || claim.Reason != posture.NotYet || !claim.ObservedAt.Equal(c.ObservedAt) {
			t.Errorf("%s is %+v", name, claim)
		}
	}
}

// members are the fields of Claims with their wire names.
func members() (names []string) {
	typ := reflect.TypeFor[posture.Claims]()
	for i := range typ.NumField() {
		names = append(names, typ.Field(i).Tag.Get("json"))
	}
	return names
}

func TestEachYieldsEveryMember(t *testing.T) {
	var c posture.Claims
	var names []string
	for name, claim := range c.Each() {
		i := len(names)
		names = append(names, name)
		if want := reflect.ValueOf(&c).Elem().Field(i).Field(0).Addr().Interface(); want != any(claim) {
			t.Errorf("%s is not member %d", name, i)
		}
	}
	if !slices.Equal(names, members()) {
		t.Errorf("yields %v\nnot    %v", names, members())
	}
	for range c.Each() {
		break // must not go on after the reader stopped
	}
}

func TestTakeCopiesOneMember(t *testing.T) {
	full := filled(t)
	for i, name := range members() {
		var c posture.Claims
		c.Take(name, &full.Claims)
		got, all := reflect.ValueOf(c), reflect.ValueOf(full.Claims)
		for j := range got.NumField() {
			same := reflect.DeepEqual(got.Field(j).Interface(), all.Field(j).Interface())
			if (j == i) != same || (j != i) != got.Field(j).IsZero() {
				t.Errorf("taking %s changes member %d", name, j)
			}
		}
	}
	var c posture.Claims
	c.Take("none", &full.Claims)
	c.Take("", &full.Claims)
	if !reflect.DeepEqual(c, posture.Claims{}) {
		t.Error("a name that is none changes something")
	}
}

// filled is a report in which everything says something: each text names its
// own path.
func filled(t *testing.T) *posture.Report {
	t.Helper()
	r := new(posture.Report)
	fill(t, reflect.ValueOf(r).Elem(), "report")
	return r
}

func fill(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(observedAt().UTC().Truncate(time.Second)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), path)
	case reflect.String:
		v.SetString(path)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(1)
	default:
		t.Fatalf("%s is a %v", path, v.Kind())
	}
}

// texts lists every string that a value holds.
func texts(v reflect.Value) (out []string) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			out = append(out, texts(v.Field(i))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, texts(v.Index(i))...)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return texts(v.Elem())
		}
	case reflect.String:
		out = append(out, v.String())
	}
	return out
}

// TestReduceKeepsOnlyWhatIsListed: what a personal laptop sends is this list; a
// new member is not in it until somebody writes it here.
func TestReduceKeepsOnlyWhatIsListed(t *testing.T) {
	kept := map[string]string{
		"OS":               "ID Name Version Codename Build Edition KernelRunning KernelNewest Architecture",
		"Patches":          "Manager KernelPending",
		"DiskEncryption":   "",
		"Firewall":         "",
		"SecureBoot":       "Shim DBXSHA256 SBATLevel",
		"BootSecurity":     "Lockdown LSM SELinux",
		"TPM":              "Version Manufacturer Firmware LogReason",
		"ScreenLock":       "",
		"AutomaticUpdates": "Mechanism",
	}
	r := filled(t)
	r.Claims.Reduce()
	var sent, allowed []string
	for claim, details := range kept {
		allowed = append(allowed, "report.Claims."+claim+".Claim.Reason")
		for _, d := range strings.Fields(details) {
			allowed = append(allowed, "report.Claims."+claim+".Detail."+d)
		}
	}
	for _, s := range texts(reflect.ValueOf(r.Claims)) {
		if s != "" && s != string(posture.NotSent) {
			sent = append(sent, s)
		}
	}
	slices.Sort(sent)
	slices.Sort(allowed)
	if !slices.Equal(sent, allowed) {
		t.Errorf("sends  %v\nlisted %v", sent, allowed)
	}
}

// TestReduceTellsNobody: no name of a person, disk, machine or serial number, by
// the members' own names.
func TestReduceTellsNobody(t *testing.T) {
	r := filled(t)
	r.Claims.Reduce()
	b, err := json.Marshal(r.Claims)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{
		"Serial", "UUID", "Asset", "Hostname", "MachineID", "Device", "Mount", "Leaves", "Packages", "Listening", "Server", "Desktop", "Homes",
	} {
		if strings.Contains(string(b), "."+word) {
			t.Errorf("%s is sent: %s", word, b)
		}
	}
	if r.Claims.Hardware.Detail != (posture.Hardware{}) || r.Claims.LocalAdministrators.Detail != (posture.LocalAdministrators{}) {
		t.Error("hardware labels or administrators are sent")
	}
	affirmed := 0
	for name, claim := range r.Claims.Each() {
		hidden := claim.Reason == posture.NotSent
		if hidden && claim.State != posture.Unknown {
			t.Errorf("%s is hidden and %v", name, claim.State)
		}
		if claim.ObservedAt.IsZero() {
			t.Errorf("%s lost its time", name)
		}
		if !hidden {
			affirmed++
		}
	}
	if affirmed != 9 {
		t.Errorf("%d claims are left", affirmed)
	}
	once := *r
	r.Claims.Reduce()
	if !reflect.DeepEqual(once, *r) {
		t.Error("reducing twice is not reducing once")
	}
}

func TestReasonForm(t *testing.T) {
	for _, good := range []posture.Reason{"", "a", "not-yet", "tpm-1-2", "a1", posture.Reason(strings.Repeat("a", posture.MaxReason))} {
		if !good.Valid() {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []posture.Reason{
		"-", "-a", "a-", "A", "a_b", "a b", "1a", "ä", "a\n", "a.b", "a\x00", posture.Reason(strings.Repeat("a", posture.MaxReason+1)),
	} {
		if bad.Valid() {
			t.Errorf("%q is accepted", bad)
		}
	}
}
