package people

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"muster/server/session"
	"muster/server/store"
)

const (
	// elevationWait is how long one may be approved.
	elevationWait = 15 * time.Minute
	// maxElevations is how many a session asks for in an hour.
	maxElevations = 20
	// A reason is that many characters long.
	minReason, maxReason = 10, 400
)

var (
	errReason      = refuse(400, "elevation-why", "Privileged access needs a reason of 10 to 400 characters.", "Say in a sentence what you are going to do; approvers and auditors read it.")
	errNoElevation = refuse(404, "elevation-none", "This application is not opened for minutes.", "Open the application; its page says what it needs.")
	errElevations  = refuse(429, "elevation-limit", "This session asked for privileged access twenty times within an hour.", "Wait an hour, or tell an administrator what keeps ending it.")
	errElevated    = refuse(409, "elevation-lives", "You have asked for privileged access to this application already.", "Look under Privileged access; end it there before you ask again.")
	errElevateOwn  = refuse(403, "elevation-own", "Nobody approves what they asked for, in whatever session.", "Ask another person who may approve it.")
	errGranted     = refuse(409, "elevation-granted", "This was approved before.", "There is nothing to do.")
	errTerms       = refuse(409, "elevation-terms", "The policy has changed since this was asked for, so it has ended.", "Let the person ask again, under the new terms.")
	errTrustLost   = refuse(409, "elevation-trust", "The person could not use it now: their session or laptop does not meet the policy.", "Let them open the application, which says what is missing; then approve.")
)

// Causes with which elevations end. Those that end by their times or with their
// session have the store's.
const (
	causeDeclined   = "declined"
	causeByApprover = "ended-by-approver"
	causeTerms      = "terms-changed"
)

// ElevationTerms say how an application is opened for minutes.
type ElevationTerms struct {
	Lasts    time.Duration
	Approval string // group of the approver; empty: nobody need approve
}

// Elevation is one with the names that people read.
type Elevation struct {
	*store.Elevation
	Name     string // of the person
	Approver string // name of who approved
	Own      bool
}

// Elevate asks for privileged access to an application for this session, with a
// reason in words. It needs fresh hands. Where nobody need approve, it is granted
// at once. Config.Elevation says on what terms, and refuses where the application
// stays closed for other reasons.
func (p *People) Elevate(ctx context.Context, w *Who, app, why string) (*Elevation, error) {
	if why = reasonOf(why); why == "" {
		return nil, errReason
	}
	var asker *Who
	err := p.view(ctx, func(tx *store.Tx) (err error) { asker, err = fresh(tx, w); return err })
	if err != nil {
		return nil, err
	}
	terms, err := p.terms(asker.Session, app)
	if err != nil {
		return nil, err
	}
	var shown *Elevation
	err = p.update(ctx, func(tx *store.Tx) error {
		now, err := fresh(tx, w)
		if err != nil {
			return err
		}
		e := &store.Elevation{Session: now.Session.ID, Person: now.Person.ID, App: app, Why: why,
			Approval: terms.Approval, Lasts: terms.Lasts, Expires: tx.Now().Add(elevationWait)}
		if err := p.ask(tx, now, e); err != nil {
			return err
		}
		shown = &Elevation{Elevation: e, Name: now.Person.Name, Own: true}
		if e.Approval == "" {
			shown.Elevation, err = p.grant(tx, now.actor(), now.Person, e, "")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// reasonOf makes what somebody typed one line of words; empty when it is too short
// or too long to be a reason.
func reasonOf(why string) string {
	if len(why) > 4*utf8.UTFMax*maxReason {
		return ""
	}
	why = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(why, " "), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if n := utf8.RuneCountInString(why); n < minReason || n > maxReason {
		return ""
	}
	return why
}

// terms asks the policy, outside of transactions: it may wait for the store.
func (p *People) terms(s *session.Session, app string) (ElevationTerms, error) {
	if p.Elevation == nil {
		return ElevationTerms{}, errNoElevation
	}
	terms, err := p.Elevation(s, app)
	if err == nil && terms.Lasts < time.Second {
		err = errNoElevation
	}
	if err != nil {
		return ElevationTerms{}, err
	}
	return terms, nil
}

// ask keeps one, and tells who may approve it.
func (p *People) ask(tx *store.Tx, w *Who, e *store.Elevation) error {
	lately, err := tx.ElevationsAsked(e.Session, tx.Now().Add(-time.Hour))
	if err != nil {
		return err
	}
	if lately >= maxElevations {
		return errElevations
	}
	// The store would make room by itself, but says nothing of it in the audit log.
	if err := endOverdue(tx, e.Session); err != nil {
		return err
	}
	err = tx.AddElevation(e)
	if errors.Is(err, store.ErrTaken) {
		return errElevated
	}
	if err != nil {
		return err
	}
	detail := elevationDetail(e, w.Person.Name)
	if err := audit(tx, w.actor(), "elevation.ask", e.ID, detail); err != nil || e.Approval == "" {
		return err
	}
	if err := p.notify(tx, w.Person, "elevation-asked", detail); err != nil {
		return err
	}
	return p.tellApprovers(tx, w, e, detail)
}

// elevationDetail is what the audit log and notices keep of one.
func elevationDetail(e *store.Elevation, name string) map[string]any {
	return map[string]any{"id": e.ID, "person": name, "session": e.Session, "app": e.App, "why": e.Why,
		"lasts": e.Lasts.String(), "approval": e.Approval}
}

// maxTold is how many approvers are told of one: a large group needs no more, and
// must not push other notices out of the outbox.
const maxTold = 20

// tellApprovers tells the members of the group, but for who asks.
func (p *People) tellApprovers(tx *store.Tx, w *Who, e *store.Elevation, detail map[string]any) error {
	all, err := tx.Persons()
	if err != nil {
		return err
	}
	told := 0
	for _, person := range all {
		if person.Disabled || person.ID == w.Person.ID || person.Mail == "" || !slices.Contains(person.Groups, e.Approval) {
			continue
		}
		if told++; told > maxTold {
			break
		}
		if err := p.notify(tx, person, "elevation-waits", detail); err != nil {
			return err
		}
	}
	return nil
}

// grant opens one; approver is a person's id, or empty.
func (p *People) grant(tx *store.Tx, by Actor, asker *store.Person, e *store.Elevation, approver string) (*store.Elevation, error) {
	e, err := tx.GrantElevation(e.ID, approver)
	if errors.Is(err, store.ErrTaken) {
		return nil, errGranted
	}
	if err != nil {
		return nil, err
	}
	detail := elevationDetail(e, asker.Name)
	detail["until"], detail["by"] = e.EndsAt, by
	if err := audit(tx, by, "elevation.grant", e.ID, detail); err != nil {
		return nil, err
	}
	return e, p.notify(tx, asker, "elevation-granted", detail)
}

// decides reports whether somebody may approve or end what others ask for.
func (w *Who) decides(e *store.Elevation) bool {
	return w.Is(store.RoleAdministrator) || e.Approval != "" && slices.Contains(w.Person.Groups, e.Approval)
}

// Elevations lists what this person's sessions have asked for and, those that wait
// first, what others have that this person may approve or end; neither ended nor
// expired.
func (p *People) Elevations(ctx context.Context, w *Who) (own, approve []*Elevation, err error) {
	var granted []*Elevation
	err = p.view(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		all, err := tx.Elevations("")
		if err != nil {
			return err
		}
		for _, e := range all {
			mine := e.Person == now.Person.ID
			if e.Over(tx.Now()) != "" || !mine && !now.decides(e) {
				continue
			}
			one, err := named(tx, e)
			if err != nil {
				return err
			}
			switch one.Own = mine; {
			case mine:
				own = append(own, one)
			case e.GrantedAt.IsZero():
				approve = append(approve, one)
			default:
				granted = append(granted, one)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return own, append(approve, granted...), nil
}

// named reads the names of an elevation's people.
func named(tx *store.Tx, e *store.Elevation) (*Elevation, error) {
	person, err := tx.Person(e.Person)
	if err != nil {
		return nil, err
	}
	one := &Elevation{Elevation: e, Name: person.Name}
	if e.ApprovedBy != "" {
		if person, err = tx.Person(e.ApprovedBy); err != nil {
			return nil, err
		}
		one.Approver = person.Name
	}
	return one, nil
}
