package reference

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// bootData is the pack that the program brings: see data/README.md.
//
//go:embed data/boot.json
var bootData []byte

// builtInBoot reads it once; a Boot is not changed once made.
var builtInBoot = sync.OnceValues(func() (*Boot, error) { return DecodeBoot(bootData) })

// Limits of a pack; the built-in one has 60 kB.
const (
	maxBoot       = 4 << 20
	maxBootList   = 4096
	maxDBXHashes  = 4096 // of one level
	maxGeneration = 1<<16 - 1
)

// The wire form: what a pack looks like as JSON.
type (
	bootWire struct {
		Number      uint64          `json:"number"`
		Date        dayText         `json:"date"`
		Authorities []authorityWire `json:"authorities"`
		TestKeys    []testKeyWire   `json:"test_keys"`
		DBX         []dbxWire       `json:"dbx"`
		SBAT        []sbatWire      `json:"sbat"`
		TPMs        []tpmWire       `json:"tpms"`
	}
	authorityWire struct {
		SHA256    hexSum        `json:"sha256"`
		Name      string        `json:"name"`
		Kind      AuthorityKind `json:"kind"`
		LocksDown bool          `json:"locks_down,omitempty"`
		Rollout   bool          `json:"rollout,omitempty"`
	}
	testKeyWire struct {
		SHA256  hexSum `json:"sha256,omitzero"`
		Subject string `json:"subject,omitempty"`
		Source  string `json:"source"`
	}
	dbxWire struct {
		Name   string   `json:"name"`
		Date   dayText  `json:"date"`
		Hashes []hexSum `json:"hashes"` // rising, as is the next

		Superseded []hexSum `json:"superseded,omitempty"` // of Hashes
	}
	sbatWire struct {
		Name       string         `json:"name"`
		Date       dayText        `json:"date"`
		Components map[string]int `json:"components"`
	}
	tpmWire struct {
		Manufacturer string       `json:"manufacturer"`
		From         firmwareText `json:"from"`
		Before       firmwareText `json:"before,omitzero"`
		CVE          string       `json:"cve"`
		Text         string       `json:"text"`
		Cap          string       `json:"cap"`
	}
)

// dayText is a day: 2006-01-02.
type dayText time.Time

// MarshalText returns the text form.
func (d dayText) MarshalText() ([]byte, error) {
	return []byte(time.Time(d).UTC().Format(time.DateOnly)), nil
}

// UnmarshalText reads it.
func (d *dayText) UnmarshalText(text []byte) error {
	day, err := time.Parse(time.DateOnly, string(text))
	*d = dayText(day)
	return err
}

// firmwareText is the version of a TPM's firmware: four numbers of sixteen bits,
// as makers write it: 7.85.4555.0.
type firmwareText uint64

// MarshalText returns the text form; it never errs.
func (f firmwareText) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%d.%d.%d", f>>48, f>>32&0xffff, f>>16&0xffff, f&0xffff), nil
}

// UnmarshalText reads it.
func (f *firmwareText) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ".")
	if len(parts) != 4 {
		return errors.New("a firmware version has four numbers: 7.85.4555.0")
	}
	*f = 0
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return errors.New("a firmware version has numbers up to 65535")
		}
		*f = *f<<16 | firmwareText(n)
	}
	return nil
}

// Encode returns the form that travels and is kept, which DecodeBoot reads.
func (b *Boot) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("encoding boot references: %w", err)
	}
	w := bootWire{Number: b.Number, Date: dayText(b.Date)}
	for _, a := range b.Authorities {
		w.Authorities = append(w.Authorities, authorityWire{hexSum(a.SHA256), a.Name, a.Kind, a.LocksDown, a.Rollout})
	}
	for _, k := range b.TestKeys {
		w.TestKeys = append(w.TestKeys, testKeyWire{hexSum(k.SHA256), k.Subject, k.Source})
	}
	for _, l := range b.DBX {
		w.DBX = append(w.DBX, dbxWire{l.Name, dayText(l.Date), rising(l.Hashes), rising(l.Superseded)})
	}
	for _, l := range b.SBAT {
		w.SBAT = append(w.SBAT, sbatWire{l.Name, dayText(l.Date), l.Components})
	}
	for _, t := range b.TPMs {
		w.TPMs = append(w.TPMs, tpmWire{t.Manufacturer, firmwareText(t.From), firmwareText(t.Before), t.CVE, t.Text, t.Cap})
	}
	w.Authorities, w.TestKeys, w.DBX = listed(w.Authorities), listed(w.TestKeys), listed(w.DBX)
	w.SBAT, w.TPMs = listed(w.SBAT), listed(w.TPMs)
	text, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding boot references: %w", err)
	}
	return text, nil
}

// rising puts a set in the order of the wire.
func rising(set map[[32]byte]bool) []hexSum {
	sums := make([]hexSum, 0, len(set))
	for h := range set {
		sums = append(sums, hexSum(h))
	}
	slices.SortFunc(sums, compareSums)
	return sums
}

// setOf reads what rising wrote.
func setOf(sums []hexSum) (map[[32]byte]bool, error) {
	set := make(map[[32]byte]bool, len(sums))
	for _, h := range sums {
		set[h] = true
	}
	switch {
	case !slices.IsSortedFunc(sums, compareSums):
		return nil, errors.New("hashes are out of order")
	case len(set) != len(sums):
		return nil, errors.New("a hash is there twice")
	}
	return set, nil
}

func compareSums(a, b hexSum) int { return bytes.Compare(a[:], b[:]) }

// DecodeBoot reads a pack. It wants exactly the form that Encode writes, but for
// white space; what it does not know is an error.
func DecodeBoot(text []byte) (*Boot, error) {
	if len(text) > maxBoot {
		return nil, fmt.Errorf("decoding boot references: more than %d bytes", maxBoot)
	}
	var w bootWire
	if err := readStrict(text, &w); err != nil {
		return nil, fmt.Errorf("decoding boot references: %w", err)
	}
	b, err := w.boot()
	if err == nil {
		err = b.check()
	}
	if err != nil {
		return nil, fmt.Errorf("decoding boot references: %w", err)
	}
	return b, nil
}

func (w *bootWire) boot() (*Boot, error) {
	if w.Authorities == nil || w.TestKeys == nil || w.DBX == nil || w.SBAT == nil || w.TPMs == nil {
		return nil, errNotCanonical
	}
	b := &Boot{Number: w.Number, Date: time.Time(w.Date)}
	for _, a := range w.Authorities {
		b.Authorities = append(b.Authorities, BootAuthority{a.SHA256, a.Name, a.Kind, a.LocksDown, a.Rollout})
	}
	for _, k := range w.TestKeys {
		b.TestKeys = append(b.TestKeys, TestKey{k.SHA256, k.Subject, k.Source})
	}
	for _, l := range w.DBX {
		hashes, err := setOf(l.Hashes)
		superseded, err2 := setOf(l.Superseded)
		if err = errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("dbx level %s: %w", quote(l.Name), err)
		}
		b.DBX = append(b.DBX, DBXLevel{l.Name, time.Time(l.Date), hashes, superseded})
	}
	for _, l := range w.SBAT {
		b.SBAT = append(b.SBAT, SBATLevel{l.Name, time.Time(l.Date), maps.Clone(l.Components)})
	}
	for _, t := range w.TPMs {
		b.TPMs = append(b.TPMs, WeakTPM{t.Manufacturer, uint64(t.From), uint64(t.Before), t.CVE, t.Text, t.Cap})
	}
	b.index = newDBXIndex(b.DBX)
	return b, nil
}
