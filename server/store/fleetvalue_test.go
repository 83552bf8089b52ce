package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/verify"
)

func pk(name string) BootValue { return BootValue{"pk", digestOf(name)} }

// shows is a healthy device of a model with one PK, approved for a time.
func shows(device, model, name string, since time.Time) *FleetValues {
	return &FleetValues{Device: device, Model: model, Counts: true, Values: []BootValue{pk(name)}, ApprovedSince: since}
}

func set(v *FleetValues) func(*Tx) error { return func(tx *Tx) error { return tx.SetFleetValues(v) } }

func prevalence(t testing.TB, s *Store, model, without string, v BootValue, before time.Time) (p Prevalence) {
	t.Helper()
	view(t, s, func(tx *Tx) (err error) { p, err = tx.Prevalence(model, without, v, before); return err })
	return p
}

func TestFleetValues(t *testing.T) {
	s, c, _ := booting(t, "a")
	v := shows("a", "m", "2", c.now())
	v.Values = append(v.Values, pk("1"), pk("2"), BootValue{"db", digestOf("2")})
	update(t, s, set(v))
	view(t, s, func(tx *Tx) error {
		got, err := tx.FleetValues("a")
		want := shows("a", "m", "", c.now())
		want.Values, _ = v.fit()
		if err != nil || !reflect.DeepEqual(got, want) || len(got.Values) != 3 || got.Values[0].Component != "db" {
			t.Errorf("%+v, %v", got, err)
		}
		return nil
	})
	if p := prevalence(t, s, "m", "", pk("2"), c.now()); p != (Prevalence{1, 1, 1}) {
		t.Errorf("%+v", p)
	}
	update(t, s, set(&FleetValues{Device: "a"}))
	view(t, s, func(tx *Tx) error {
		if got, err := tx.FleetValues("a"); err != nil || !reflect.DeepEqual(got, &FleetValues{Device: "a"}) {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := tx.FleetValues("none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("of no device: %v", err)
		}
		return nil
	})
}

// A report like the one before, which most are, writes nothing.
func TestSameFleetValuesWriteNothing(t *testing.T) {
	s, c, _ := booting(t, "a")
	writes := func(v *FleetValues) (rows int) {
		update(t, s, func(tx *Tx) error {
			var before, after int
			err := tx.first([]any{&before}, "SELECT total_changes()")
			err2 := tx.SetFleetValues(v)
			err3 := tx.first([]any{&after}, "SELECT total_changes()")
			rows = after - before
			return errors.Join(err, err2, err3)
		})
		return rows
	}
	v := shows("a", "m", "1", c.now())
	if writes(v) == 0 || writes(v) != 0 {
		t.Error("the same again was written, or the first was not")
	}
	for name, change := range map[string]func(){
		"model":    func() { v.Model = "other" },
		"counts":   func() { v.Counts = false },
		"approved": func() { v.ApprovedSince = v.ApprovedSince.Add(time.Second) },
		"values":   func() { v.Values = []BootValue{pk("2")} },
		"fewer":    func() { v.Values = nil },
	} {
		if change(); writes(v) == 0 || writes(v) != 0 {
			t.Errorf("%s: written again, or not at all", name)
		}
	}
}

func TestFleetValuesForm(t *testing.T) {
	s, _, _ := booting(t, "a")
	for name, spoil := range map[string]func(*FleetValues){
		"too many":               func(v *FleetValues) { v.Values = make([]BootValue, maxFleetValues+1) },
		"too many, all the same": func(v *FleetValues) { v.Values = repeated(pk("1"), maxFleetValues+1) },
		"component too long":     func(v *FleetValues) { v.Values[0].Component = strings.Repeat("x", maxComponent+1) },
		"no component":           func(v *FleetValues) { v.Values[0].Component = "" },
		"component is no text":   func(v *FleetValues) { v.Values[0].Component = "\xff" },
		"no value":               func(v *FleetValues) { v.Values[0].Value = attest.Digest{} },
		"model too long":         func(v *FleetValues) { v.Model = strings.Repeat("x", maxModel+1) },
		"model is no text":       func(v *FleetValues) { v.Model = "ab\xff" },
	} {
		v := shows("a", "m", "1", time.Time{})
		spoil(v)
		refused(t, s, name, ErrForm, set(v))
	}
	refused(t, s, "no device", ErrNotFound, set(shows("none", "m", "1", time.Time{})))
	refused(t, s, "no device, no values", ErrNotFound, set(&FleetValues{Device: ""}))
	view(t, s, func(tx *Tx) error {
		if _, err := tx.FleetValues("a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("kept: %v", err)
		}
		return nil
	})
	longest := shows("a", strings.Repeat("ä", maxModel/2), "1", time.Time{})
	longest.Values = nil
	for i := range maxFleetValues {
		longest.Values = append(longest.Values, BootValue{strings.Repeat("x", maxComponent), digestOf(fmt.Sprint(i))})
	}
	update(t, s, set(longest))
}

func repeated(v BootValue, n int) (list []BootValue) {
	for range n {
		list = append(list, v)
	}
	return list
}

// Who does not count adds nothing, whatever made them so and however late; and a
// name that somebody chose is only a name.
func TestWhoCountsInPrevalence(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and nothing runs beside it that the race detector could see")
	}
	const model = `m' OR '1'='1`
	for name, c := range map[string]struct {
		change func(t *testing.T, s *Store, d *Device, v *FleetValues)
		want   Prevalence
	}{
		"as it is":      {nil, Prevalence{2, 2, 2}},
		"pending":       {func(_ *testing.T, _ *Store, d *Device, _ *FleetValues) { d.State = attest.Pending }, Prevalence{1, 1, 1}},
		"personal":      {func(_ *testing.T, _ *Store, d *Device, _ *FleetValues) { d.Class = verify.ClassBYOD }, Prevalence{1, 1, 1}},
		"no class":      {func(_ *testing.T, _ *Store, d *Device, _ *FleetValues) { d.Class = "" }, Prevalence{1, 1, 1}},
		"listed TPM":    {func(_ *testing.T, _ *Store, d *Device, _ *FleetValues) { d.Level = verify.TPMListed }, Prevalence{1, 1, 1}},
		"software":      {func(_ *testing.T, _ *Store, d *Device, _ *FleetValues) { d.Level = verify.Software }, Prevalence{1, 1, 1}},
		"not healthy":   {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Counts = false }, Prevalence{1, 1, 1}},
		"another model": {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Model = "m" }, Prevalence{1, 1, 1}},
		"no model":      {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Model = "" }, Prevalence{1, 1, 1}},
		"another value": {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Values = []BootValue{pk("2")} }, Prevalence{1, 1, 2}},
		"other part":    {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Values[0].Component = "kek" }, Prevalence{1, 1, 2}},
		"no values":     {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Values = nil }, Prevalence{1, 1, 2}},
		"two values":    {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.Values = append(v.Values, pk("2")) }, Prevalence{2, 2, 2}},
		"not approved":  {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.ApprovedSince = time.Time{} }, Prevalence{2, 1, 2}},
		"approved late": {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) {
			v.ApprovedSince = v.ApprovedSince.Add(time.Millisecond)
		}, Prevalence{2, 1, 2}},
		"approved early": {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.ApprovedSince = time.UnixMilli(1) }, Prevalence{2, 2, 2}},
		"before 1970":    {func(_ *testing.T, _ *Store, _ *Device, v *FleetValues) { v.ApprovedSince = time.Unix(-9, 0) }, Prevalence{2, 1, 2}},
	} {
		s, clock, _ := booting(t, "self", "b")
		d, v := laptop("c"), shows("c", model, "1", clock.now())
		if c.change != nil {
			c.change(t, s, d, v)
		}
		update(t, s, func(tx *Tx) error { return tx.InsertDevice(d) })
		for _, of := range []*FleetValues{shows("self", model, "1", clock.now()), shows("b", model, "1", clock.now()), v} {
			update(t, s, set(of))
		}
		if got := prevalence(t, s, model, "self", pk("1"), clock.now()); got != c.want {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
		update(t, s, func(tx *Tx) error {
			return errors.Join(revoke(tx, "b", "admin", "stolen"), revoke(tx, "c", "admin", "x"))
		})
		if got := prevalence(t, s, model, "self", pk("1"), clock.now()); got != (Prevalence{}) {
			t.Errorf("%s, and all revoked: %+v", name, got)
		}
	}
}

func TestPrevalenceOfNothing(t *testing.T) {
	s, c, _ := booting(t, "a")
	update(t, s, set(shows("a", "m", "1", c.now())))
	for name, of := range map[string]struct {
		model, without string
		v              BootValue
		before         time.Time
		want           Prevalence
	}{
		"itself":         {"m", "a", pk("1"), c.now(), Prevalence{}},
		"nobody left":    {"m", "none", pk("1"), c.now(), Prevalence{1, 1, 1}},
		"no model":       {"", "", pk("1"), c.now(), Prevalence{}},
		"another model":  {"M", "", pk("1"), c.now(), Prevalence{}},
		"no component":   {"m", "", BootValue{"", digestOf("1")}, c.now(), Prevalence{}},
		"no value":       {"m", "", BootValue{"pk", attest.Digest{}}, c.now(), Prevalence{}},
		"pattern":        {"%", "", pk("1"), c.now(), Prevalence{}},
		"no time":        {"m", "", pk("1"), time.Time{}, Prevalence{1, 0, 1}},
		"a moment early": {"m", "", pk("1"), c.now().Add(-time.Millisecond), Prevalence{1, 0, 1}},
		"long ago":       {"m", "", pk("1"), time.Unix(-1<<40, 0), Prevalence{1, 0, 1}},
	} {
		if got := prevalence(t, s, of.model, of.without, of.v, of.before); got != of.want {
			t.Errorf("%s: %+v, not %+v", name, got, of.want)
		}
	}
}

// Prevalence is what counting one by one says, whatever the fleet.
func TestPrevalenceIsWhatCountingSays(t *testing.T) {
	s, c, _ := booting(t)
	r := rand.New(rand.NewPCG(9, 10))
	var devices []*Device
	kept := map[string]*FleetValues{}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for i := range 60 {
		d := laptop(fmt.Sprint(i))
		d.State = []attest.DeviceState{attest.Active, attest.Active, attest.Pending}[r.IntN(3)]
		d.Level = []verify.Level{verify.TPMHardware, verify.TPMHardware, verify.VTPM}[r.IntN(3)]
		d.Class = verify.Class(pick("corporate", "corporate", "personal"))
		devices = append(devices, d)
		update(t, s, func(tx *Tx) error { return tx.InsertDevice(d) })
	}
	for range 200 {
		d := devices[r.IntN(len(devices))]
		v := shows(d.ID, pick("m", "m", "n", ""), pick("1", "2"), c.now().Add(time.Duration(r.IntN(5)-2)*time.Hour))
		v.Counts = r.IntN(4) > 0
		if r.IntN(3) == 0 {
			v.Values, v.ApprovedSince = append(v.Values, pk("3"), BootValue{"db", digestOf("1")}), time.Time{}
		}
		kept[d.ID] = v
		update(t, s, set(v))
		var want Prevalence
		model, without, value := pick("m", "n"), devices[r.IntN(len(devices))].ID, pk(pick("1", "2", "3"))
		for _, d := range devices {
			v := kept[d.ID]
			if v == nil || d.ID == without || d.State != attest.Active || d.Level != verify.TPMHardware ||
				d.Class != verify.ClassCorporate || v.Model != model || !v.Counts {
				continue
			}
			want.Of++
			for _, one := range v.Values {
				if one == value {
					want.Shows++
					if !v.ApprovedSince.IsZero() && !v.ApprovedSince.After(c.now()) {
						want.Approved++
					}
				}
			}
		}
		if got := prevalence(t, s, model, without, value, c.now()); got != want {
			t.Fatalf("%+v, not %+v", got, want)
		}
	}
}

// One index gives the devices of a model; each is then looked up, not searched for.
func TestPrevalenceReadsOneModel(t *testing.T) {
	s, _, _ := booting(t)
	var steps []string
	view(t, s, func(tx *Tx) error {
		return tx.query(func(row scanner) error {
			var a, b, c int
			var step string
			err := row.Scan(&a, &b, &c, &step)
			steps = append(steps, step)
			return err
		}, "EXPLAIN QUERY PLAN "+prevalenceSelect, 1, "pk", make([]byte, 32), "m", "a")
	})
	all := strings.Join(steps, "\n")
	for _, want := range []string{"SEARCH f USING COVERING INDEX fleet_model (model=?)", "SEARCH d USING INDEX devices_counting (n=?",
		"SEARCH v USING PRIMARY KEY (n=? AND component=? AND value=?)"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in the plan", want)
		}
	}
	if strings.Contains(all, "SCAN ") || strings.Contains(all, "TEMP") || strings.Contains(all, "AUTOMATIC") {
		t.Error("it searches for rows")
	}
	if t.Failed() {
		t.Log(all)
	}
}
