package web

import (
	"net/http"
	"strings"

	"muster/attest"
	"muster/server/people"
)

// maxListed is how many of a list a page shows: who looks for one narrows it.
const maxListed = 100

// devicesView is the fleet, as far as it was asked for.
type devicesView struct {
	Query   string
	Owner   string
	State   string
	States  []choice
	Devices []deviceView
	Found   int
	All     int
	Classes []string
	May     bool // approve and revoke
}

// choice is one of a list to choose from.
type choice struct{ Value, Name string }

// deviceView is a laptop in words.
type deviceView struct {
	OfficeDevice
	Outcome mark
	Type    string // what to type to confirm a revocation
}

// Waits: somebody has to admit it.
func (v deviceView) Waits() bool { return v.State == attest.Pending }

// Gone: it was revoked.
func (v deviceView) Gone() bool { return v.State == attest.Revoked }

// deviceClasses are those of session.Device.
func deviceClasses() []string { return []string{"corporate", "byod", "contractor", "shared"} }

// stateChoices filter by how a laptop stands.
func stateChoices() []choice {
	return []choice{{"", "Any"}, {"pending", "Waits for an approval"}, {"moved", "Came back with other keys"}, {"drift", "Starts in another way"}, {"bad", "Needs fixing"}, {"ok", "In order"}, {"silent", "Does not report"}, {"revoked", "Revoked"}}
}

// devicesPage lists laptops; the help desk sees them, too.
func (s *site) devicesPage(w http.ResponseWriter, r *request) error {
	q := r.URL.Query()
	v := devicesView{Query: strings.TrimSpace(q.Get("q")), Owner: strings.TrimSpace(q.Get("owner")), State: q.Get("state"),
		States: stateChoices(), Classes: deviceClasses(), May: r.who.Is(administrators()...)}
	for _, d := range s.Office.Devices() {
		v.All++
		one := deviceView{OfficeDevice: d, Outcome: outcomeMark(&d.Laptop), Type: confirmWord(d)}
		if !v.wants(&one) {
			continue
		}
		if v.Found++; v.Found <= maxListed {
			v.Devices = append(v.Devices, one)
		}
	}
	return s.show(w, r, "devices", "All laptops", v)
}

// wants reports whether a laptop is one of those that are asked for.
func (v *devicesView) wants(d *deviceView) bool {
	has := func(text string) bool {
		return strings.Contains(strings.ToLower(text), strings.ToLower(v.Query))
	}
	switch {
	case v.Query != "" && !has(d.Name) && !has(d.ID) && !has(d.Serial):
		return false
	case v.Owner != "" && !strings.EqualFold(d.Laptop.Owner, v.Owner):
		return false
	}
	switch v.State {
	case "pending":
		return d.Waits()
	case "moved":
		return d.Moved()
	case "drift":
		return d.Drifts()
	case "revoked":
		return d.Gone()
	case "bad":
		return d.State == attest.Active && d.Outcome.Icon == "bad"
	case "ok":
		return d.State == attest.Active && (d.Outcome.Icon == "ok" || d.Outcome.Icon == "info")
	case "silent":
		return d.State == attest.Active && d.Outcome.Icon == "unknown"
	}
	return true
}

// confirmWord is what somebody types who revokes a laptop: its name.
func confirmWord(d OfficeDevice) string {
	if name := strings.Join(strings.Fields(d.Name), " "); name != "" {
		return name
	}
	return d.ID
}

// deviceApprove admits a laptop by the code that it shows: the page does not know
// it, or typing it would prove nothing.
func (s *site) deviceApprove(w http.ResponseWriter, r *request) error {
	d, err := s.officeDevice(r)
	if err != nil {
		return err
	}
	err = s.Office.Approve(r.Context(), actor(r.who), d.ID, typedCode(r.PostFormValue("code")),
		strings.ToLower(strings.TrimSpace(r.PostFormValue("owner"))), r.PostFormValue("class"))
	if err != nil {
		return err
	}
	return s.done(w, r, "/office/devices", "device-approved")
}

// deviceRevoke is for ever, so the laptop's name is typed first.
func (s *site) deviceRevoke(w http.ResponseWriter, r *request) error {
	d, err := s.officeDevice(r)
	if err != nil {
		return err
	}
	if typed := strings.Join(strings.Fields(r.PostFormValue("confirm")), " "); !strings.EqualFold(typed, confirmWord(d)) {
		return &people.Refusal{Status: http.StatusBadRequest, Code: "confirm",
			Text: "What you typed is not the laptop’s name; nothing was changed.", Fix: "Go back and type the name as it stands there."}
	}
	why := strings.TrimSpace(r.PostFormValue("why"))
	if why == "" {
		return refusedWhy()
	}
	if err := s.Office.Revoke(r.Context(), actor(r.who), d.ID, why); err != nil {
		return err
	}
	return s.done(w, r, "/office/devices", "device-revoked")
}

func refusedWhy() error {
	return &people.Refusal{Status: http.StatusBadRequest, Code: "why",
		Text: "A reason in words is needed.", Fix: "Say why; it is kept in the audit log."}
}

// officeDevice finds the laptop that a form names, by id.
func (s *site) officeDevice(r *request) (OfficeDevice, error) {
	id := r.PostFormValue("id")
	for _, d := range s.Office.Devices() {
		if d.ID == id {
			return d, nil
		}
	}
	return OfficeDevice{}, refusedGone()
}
