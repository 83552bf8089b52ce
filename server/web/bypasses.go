package web

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"muster/server/people"
	"muster/server/store"
)

// bypassesView is what administrators let pass.
type bypassesView struct {
	Bypasses []bypassView
	Lasts    []lasting
	Device   string // to fill in, where another page led here
	May      bool
}

// bypassView is one with names.
type bypassView struct {
	*store.Bypass
	Of     string // laptop or person, by name
	Laptop bool
}

func (s *site) bypassesPage(w http.ResponseWriter, r *request) error {
	all, err := s.People.Bypasses(r.Context())
	if err != nil {
		return err
	}
	names, err := s.named(r)
	if err != nil {
		return err
	}
	v := bypassesView{Lasts: bypassLasts(), Device: r.URL.Query().Get("device"), May: r.who.Is(administrators()...)}
	for _, b := range all {
		one := bypassView{Bypass: b, Of: s.laptopName(b.Device), Laptop: b.Device != ""}
		if !one.Laptop {
			one.Of = names.person(b.Person)
		}
		v.Bypasses = append(v.Bypasses, one)
	}
	return s.show(w, r, "bypasses", "Bypasses", v)
}

// bypassAdd lets one rule pass for a while. Which rules there are, the policy says;
// a bypass of none has no effect.
func (s *site) bypassAdd(w http.ResponseWriter, r *request) error {
	hours, err := strconv.Atoi(r.PostFormValue("hours"))
	until, ok := s.until(hours)
	if err != nil || !ok {
		return &people.Refusal{Status: http.StatusBadRequest, Code: "bypass-until",
			Text: "It is not known how long the bypass is to last.", Fix: "Go back and choose a time from the list."}
	}
	device, err := s.deviceNamed(strings.TrimSpace(r.PostFormValue("device")))
	if err != nil {
		return err
	}
	person := strings.ToLower(strings.TrimSpace(r.PostFormValue("person")))
	if (device == "") == (person == "") {
		return &people.Refusal{Status: http.StatusBadRequest, Code: "bypass-of",
			Text: "A bypass is for one laptop or for one person.", Fix: "Go back and fill in one of the two."}
	}
	if _, err := s.People.LetPass(r.Context(), actor(r.who), device, person,
		strings.TrimSpace(r.PostFormValue("rule")), strings.TrimSpace(r.PostFormValue("why")), until.Truncate(time.Second)); err != nil {
		return err
	}
	return s.done(w, r, "/office/bypasses", "bypass-added")
}

// deviceNamed finds a laptop by its id or, where only one has it, by its name.
func (s *site) deviceNamed(text string) (id string, err error) {
	if text == "" {
		return "", nil
	}
	for _, d := range s.Office.Devices() {
		switch {
		case d.ID == text:
			return d.ID, nil
		case strings.EqualFold(d.Name, text) && id != "":
			return "", &people.Refusal{Status: http.StatusConflict, Code: "device-name",
				Text: "More than one laptop has this name.", Fix: "Go back and give the id of the one that you mean; the page of all laptops has it."}
		case strings.EqualFold(d.Name, text):
			id = d.ID
		}
	}
	if id == "" {
		return "", &people.Refusal{Status: http.StatusNotFound, Code: "not-found",
			Text: "There is no laptop of this name or id.", Fix: "Look it up on the page of all laptops."}
	}
	return id, nil
}

func (s *site) bypassEnd(w http.ResponseWriter, r *request) error {
	if err := s.People.EndBypass(r.Context(), actor(r.who), r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/office/bypasses", "bypass-ended")
}

// lasting are the choices of how long something is to last.
type lasting struct {
	Hours int
	Name  string
}

func bypassLasts() []lasting {
	return []lasting{{1, "1 hour"}, {8, "8 hours"}, {24, "1 day"}, {3 * 24, "3 days"}, {7 * 24, "7 days"}, {30 * 24, "30 days"}}
}

// until is when such a choice ends; ok only for one of the choices. The longest
// stays below what people allow, though minutes pass on the way.
func (s *site) until(hours int) (end time.Time, ok bool) {
	for _, l := range bypassLasts() {
		if l.Hours == hours {
			return s.Now().Add(time.Duration(hours)*time.Hour - time.Minute), true
		}
	}
	return time.Time{}, false
}
