package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/attest"
)

// BootValue is one part of how a device starts, for comparison over the fleet.
type BootValue struct {
	Component string // firmware, pk, kek, db, applications, authorities
	Value     attest.Digest
}

// FleetValues are those of one device now.
type FleetValues struct {
	Device string
	Model  string // as its report names it; empty: nothing to compare with
	// Counts tells that it may count for others: it is healthy.
	Counts bool
	Values []BootValue // at most 16
	// ApprovedSince is when this set became approved; zero while it is not.
	ApprovedSince time.Time
}

// What is kept of one device, in values and bytes.
const (
	maxFleetValues = 16
	maxComponent   = 32
	maxModel       = 200
)

// SetFleetValues replaces what is kept of a device; the same again writes nothing.
// ErrNotFound without the device. Two equal values are one.
func (t *Tx) SetFleetValues(v *FleetValues) error {
	values, err := v.fit()
	if err != nil {
		return err
	}
	was, err := t.FleetValues(v.Device)
	known := err == nil
	if !known && !errors.Is(err, ErrNotFound) {
		return err
	}
	if !known || was.Model != v.Model || was.Counts != v.Counts || millis(was.ApprovedSince) != millis(v.ApprovedSince) {
		if err := t.one(`INSERT INTO fleet (n, model, counts, approved_since)
			SELECT n, ?, ?, ? FROM devices WHERE id = ? ON CONFLICT (n) DO UPDATE SET model = excluded.model,
			counts = excluded.counts, approved_since = excluded.approved_since`,
			v.Model, v.Counts, millis(v.ApprovedSince), v.Device); err != nil {
			return err
		}
	}
	if known && slices.Equal(was.Values, values) {
		return nil
	}
	if _, err := t.exec("DELETE FROM fleet_values WHERE n = (SELECT n FROM devices WHERE id = ?)", v.Device); err != nil {
		return err
	}
	for i := range values {
		if err := t.one(`INSERT INTO fleet_values (n, component, value) SELECT n, ?, ? FROM devices WHERE id = ?`,
			values[i].Component, values[i].Value[:], v.Device); err != nil {
			return err
		}
	}
	return nil
}

// fit refuses what the store does not keep, and returns the values in order, each
// once.
func (v *FleetValues) fit() ([]BootValue, error) {
	if len(v.Values) > maxFleetValues {
		return nil, fmt.Errorf("%w: %d values of a device", ErrForm, len(v.Values))
	}
	if err := bounded("model", v.Model, maxModel); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	for i := range v.Values {
		if err := v.Values[i].fit(); err != nil {
			return nil, err
		}
	}
	values := slices.Clone(v.Values)
	slices.SortFunc(values, func(a, b BootValue) int {
		if c := strings.Compare(a.Component, b.Component); c != 0 {
			return c
		}
		return bytes.Compare(a.Value[:], b.Value[:])
	})
	return slices.Compact(values), nil
}

func (v *BootValue) fit() error {
	err := bounded("component", v.Component, maxComponent)
	if err == nil && (v.Component == "" || v.Value.IsZero()) {
		err = errors.New("a value has a component and a digest")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForm, err)
	}
	return nil
}

// FleetValues reads what is kept of a device, its values by component; ErrNotFound.
func (t *Tx) FleetValues(device string) (*FleetValues, error) {
	v := &FleetValues{Device: device}
	var n, since int64
	if err := t.first([]any{&n, &v.Model, &v.Counts, &since}, `SELECT n, model, counts, approved_since
		FROM fleet WHERE n = (SELECT n FROM devices WHERE id = ?)`, device); err != nil {
		return nil, err
	}
	v.ApprovedSince = instant(since)
	err := t.query(func(row scanner) error {
		var one BootValue
		var value []byte
		err := row.Scan(&one.Component, &value)
		if err == nil {
			one.Value, err = readDigest(value)
		}
		v.Values = append(v.Values, one)
		return err
	}, "SELECT component, value FROM fleet_values WHERE n = ? ORDER BY component, value", n)
	return v, err
}

// Prevalence says how common a value is.
type Prevalence struct {
	Shows    int `json:"shows"`    // devices that count and show it
	Approved int `json:"approved"` // those of Shows in whose approved set it has been since long
	Of       int `json:"of"`       // devices that count
}

// prevalenceSelect walks through the devices of a model that count, and of each
// asks whether it is one that may, and whether it shows the value: three lists in
// the order of n, about a microsecond a device. Left to itself SQLite would search
// the rows of devices, which are long.
const prevalenceSelect = `SELECT count(*), count(v.n),
	count(CASE WHEN f.approved_since > 0 AND f.approved_since <= ?1 THEN v.n END)
	FROM fleet f JOIN devices d INDEXED BY devices_counting ON d.n = f.n
	LEFT JOIN fleet_values v ON v.n = f.n AND v.component = ?2 AND v.value = ?3
	WHERE f.counts = 1 AND f.model = ?4 AND f.n IS NOT (SELECT n FROM devices WHERE id = ?5)
	AND d.state = 'active' AND d.level = 'tpm-hw' AND d.class = 'corporate'`

// Prevalence counts over active corporate devices of a model at level tpm-hw that
// count, without one device: how many show a value, and of how many it has been
// approved since a time. Without a model nothing compares. It reads every device
// of the model: ask in a View.
func (t *Tx) Prevalence(model, without string, v BootValue, approvedBefore time.Time) (p Prevalence, err error) {
	if model == "" || v.fit() != nil {
		return p, nil
	}
	err = t.first([]any{&p.Of, &p.Shows, &p.Approved}, prevalenceSelect,
		millis(approvedBefore), v.Component, v.Value[:], model, without)
	return p, err
}
