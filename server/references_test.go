package server

import (
	"testing"
	"time"

	"muster/server/reference"
)

// A pack is worth a warning after a year, and never younger than new.
func TestPackAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	s := &Server{now: func() time.Time { return now }}
	for _, test := range []struct {
		date      time.Time
		days      int
		freshness string
	}{
		{now, 0, "fresh"},
		{now.Add(time.Hour), 0, "fresh"},
		{now.AddDate(0, 0, -10), 10, "fresh"},
		{now.AddDate(0, 0, -365), 365, "fresh"},
		{now.AddDate(0, 0, -365).Add(-time.Second), 365, "old"},
		{now.AddDate(-3, 0, 0), 1095, "old"},
	} {
		if p := s.dated(packStatus{}, test.date); p.AgeDays != test.days || p.Freshness != test.freshness || !p.Date.Equal(test.date) {
			t.Errorf("%s: %d days, %s", test.date, p.AgeDays, p.Freshness)
		}
	}
}

// Boots are always judged by something, and by nothing older than what the program
// brings.
func TestBootReferences(t *testing.T) {
	t.Parallel()
	s := new(Server)
	builtIn := s.bootReferences()
	if builtIn == nil || builtIn.Number == 0 || len(builtIn.Authorities) == 0 {
		t.Fatalf("built in: %+v", builtIn)
	}
	for number, want := range map[uint64]uint64{builtIn.Number - 1: builtIn.Number, builtIn.Number: builtIn.Number, builtIn.Number + 1: builtIn.Number + 1} {
		s.bootRefs.Store(&reference.Boot{Number: number})
		if got := s.bootReferences(); got.Number != want || want == builtIn.Number && got != builtIn {
			t.Errorf("imported %d: %d", number, got.Number)
		}
	}
}
