package web

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"muster/server/session"
	"muster/server/store"
)

// auditAtOnce is how many records a page of the audit log has.
const auditAtOnce = 50

// auditView is a record in words.
type auditView struct {
	Seq     uint64
	At      time.Time
	Actor   string
	Action  string
	Subject string // a name, where there is one
	ID      string // where the name is another
	Detail  []detailView
}

// detailView is a member of a record's detail.
type detailView struct{ Name, Value string }

// auditPageView is a page of them.
type auditPageView struct {
	Entries []auditView
	Newest  bool
	Before  uint64 // for the next page; 0: there is none
}

// auditPage shows the log, newest first.
func (s *site) auditPage(w http.ResponseWriter, r *request) error {
	before, err := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		before = 0 // what is no number is the beginning
	}
	entries, err := s.Office.Audit(r.Context(), before, auditAtOnce)
	if err != nil {
		return err
	}
	v := auditPageView{Entries: s.auditViews(entries), Newest: before == 0}
	if n := len(entries); n == auditAtOnce && entries[n-1].Seq > 1 {
		v.Before = entries[n-1].Seq
	}
	return s.show(w, r, "audit", "Audit log", v)
}

func (s *site) auditViews(entries []*store.Entry) []auditView {
	views := make([]auditView, 0, len(entries))
	for _, e := range entries {
		v := auditView{Seq: e.Seq, At: e.At, Actor: s.auditActor(e.Actor), Action: e.Action, Subject: e.Subject, Detail: detailViews(e.Detail)}
		if name := s.laptopName(e.Subject); name != e.Subject {
			v.Subject, v.ID = name, e.Subject
		}
		views = append(views, v)
	}
	return views
}

// auditActor is exact where actorWords is kind: programs and the server itself have
// other names here.
func (s *site) auditActor(a string) string {
	switch kind, name, _ := strings.Cut(a, ":"); kind {
	case "person":
		return name
	case "device":
		return "laptop " + s.laptopName(name)
	}
	return a
}

// detailViews reads a record's detail: members by name, each cut to what a page can
// show. What is no object is shown as it is.
func detailViews(detail []byte) (views []detailView) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(detail, &members); err != nil {
		return []detailView{{"detail", session.Cut(string(detail))}}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := string(members[name])
		var text string
		if json.Unmarshal(members[name], &text) == nil {
			value = text
		}
		if value != "" && value != "null" {
			views = append(views, detailView{session.Cut(name), session.Cut(value)})
		}
	}
	return views
}
