package web

import (
	"net/http"

	"muster/attest"
)

// overviewView is what an administrator looks at first: what waits, then numbers.
type overviewView struct {
	Attention []attention
	Laptops   int
	Healthy   int
	Sessions  int // -1: not for this role
	Bypasses  int
	Policy    string // its digest, short; empty: not for this role
	File      string
	Latest    []auditView
}

// overviewPage tells the help desk of laptops and approvals alone: where people are
// signed in, and what was done, is for who administers or audits.
func (s *site) overviewPage(w http.ResponseWriter, r *request) error {
	v := overviewView{Sessions: -1}
	waiting, moved, drifted := 0, 0, 0
	for _, d := range s.Office.Devices() {
		v.Laptops++
		one := deviceView{OfficeDevice: d}
		if one.Drifts() && !one.Refused() {
			drifted++
		}
		switch {
		case one.Moved():
			moved++
		case d.State == attest.Pending:
			waiting++
		case outcomeMark(&d.Laptop).Icon == "ok":
			v.Healthy++
		}
	}
	if waiting > 0 {
		v.Attention = append(v.Attention, attention{mark{"wait", count(waiting, "laptop waits", "laptops wait") + " for an approval"},
			"Compare the code that each shows.", "/office/devices?state=pending", "Open laptops"})
	}
	v.Attention = append(v.Attention, changeAttention(moved, drifted)...)
	_, approve, err := s.People.Recoveries(r.Context(), r.who)
	if err != nil {
		return err
	}
	_, asked, err := s.People.Elevations(r.Context(), r.who)
	if err != nil {
		return err
	}
	v.Attention = append(append(v.Attention, recoveryAttention(nil, approve)...), s.elevationAttention(nil, asked)...)
	if !r.who.Is(auditors()...) {
		return s.show(w, r, "overview", "Administration", v)
	}
	sessions, err := s.People.SessionsOf(r.Context(), "")
	if err != nil {
		return err
	}
	bypasses, err := s.People.Bypasses(r.Context())
	if err != nil {
		return err
	}
	const latest = 5
	entries, err := s.Office.Audit(r.Context(), 0, latest)
	if err != nil {
		return err
	}
	v.Sessions, v.Bypasses, v.Latest = len(sessions), len(bypasses), s.auditViews(entries)
	v.Policy, _, v.File = s.Office.Policy()
	v.Policy = shortDigest(v.Policy)
	return s.show(w, r, "overview", "Administration", v)
}

// changeAttention tells of laptops that are other than they were.
func changeAttention(moved, drifted int) (all []attention) {
	if moved > 0 {
		all = append(all, attention{mark{"wait", count(moved, "laptop came", "laptops came") + " back with other keys"},
			"The owner says whether it is theirs; or compare the code that it shows.", "/office/devices?state=moved", "Open laptops"})
	}
	if drifted > 0 {
		all = append(all, attention{mark{"wait", count(drifted, "laptop starts", "laptops start") + " in another way than before"},
			"Look at what changed, and approve it if somebody updated it.", "/office/devices?state=drift", "Open laptops"})
	}
	return all
}

// shortDigest is enough of one to compare by eye.
func shortDigest(d string) string {
	const enough = 12
	if len(d) > enough {
		return d[:enough]
	}
	return d
}
