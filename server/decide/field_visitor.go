package decide

import (
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// States of a link, as [Link] has them. Whatever else stands there is absent.
const (
	linkAbsent    = "absent"
	linkSuspended = "suspended"
	linkLive      = "live"
)

// Ranks of linkType and of strengthType, in the order of strength.
const (
	rankAbsent uint8 = iota
	rankSuspended
	rankLive
)

const (
	rankCode uint8 = iota
	rankApp
	rankLoopback
)

func (l *Link) live() bool { return l.State == linkLive }

// present reports whether there is a laptop at all, awake or not.
func (l *Link) present() bool { return l.State == linkLive || l.State == linkSuspended }

// known finds of whom anything is known at all. A visitor's laptop is there while
// the link is live: asleep, or without a link, there is none.
func (in *Inputs) known() (s subject) {
	if in.HasResult && (in.Visitor == nil || in.Visitor.Session.Link.live()) {
		s = aboutDevice
	}
	if in.Visitor != nil {
		s |= aboutVisitor
	}
	return s
}

func sessionFields() []field {
	text := func(name string, read func(*Session) string, values ...string) field {
		return field{path: "session." + name, claim: "session", typ: cel.StringType, values: values, read: func(r *reading) ref.Val {
			return oneOf(read(&r.in.Visitor.Session), values)
		}}
	}
	return []field{
		{path: "session.age", claim: "session", typ: cel.DurationType, since: func(r *reading) time.Time { return r.in.Visitor.Session.SignedInAt }},
		{path: "session.user_verified_ago", claim: "verification", typ: cel.DurationType,
			since: func(r *reading) time.Time { return r.in.Visitor.Session.UserVerified }},
		// Every sign-in has a way, so a list without one was not filled in.
		{path: "session.amr", claim: "session", typ: cel.ListType(cel.StringType), read: func(r *reading) ref.Val {
			if amr := r.in.Visitor.Session.AMR; len(amr) > 0 {
				return types.NewStringList(types.DefaultTypeAdapter, amr)
			}
			return nil
		}},
		text("acr", func(s *Session) string { return s.ACR }),
		text("binding", func(s *Session) string { return s.Binding }, "none", "dbsc", "mtls"),
	}
}

// oneOf is a text that is known when it is one of the values, or where there are
// none, when it is not empty.
func oneOf(text string, values []string) ref.Val {
	if len(values) > 0 && !slices.Contains(values, text) {
		return nil
	}
	return textValue(text)
}

func linkFields() []field {
	return []field{
		{path: "session.link.state", claim: "link", typ: linkType, read: func(r *reading) ref.Val {
			switch r.in.Visitor.Session.Link.State {
			case linkLive:
				return symbol{linkType, rankLive}
			case linkSuspended:
				return symbol{linkType, rankSuspended}
			}
			return symbol{linkType, rankAbsent}
		}},
		{path: "session.link.strength", claim: "link", typ: strengthType, read: func(r *reading) ref.Val {
			link := &r.in.Visitor.Session.Link
			if !link.live() {
				return nil
			}
			switch link.Strength {
			case "code":
				return symbol{strengthType, rankCode}
			case "app":
				return symbol{strengthType, rankApp}
			case "loopback":
				return symbol{strengthType, rankLoopback}
			}
			return nil
		}},
		{path: "session.link.age", claim: "link", typ: cel.DurationType, since: func(r *reading) time.Time {
			if link := &r.in.Visitor.Session.Link; link.live() {
				return link.At
			}
			return time.Time{}
		}},
	}
}

// userFields are of somebody who has a name: a User that nobody filled in is
// nobody. Groups may be none, since the server itself keeps them.
func userFields() []field {
	user := func(name string, typ *cel.Type, read func(*User) ref.Val, values ...string) field {
		return field{path: "user." + name, claim: "user", typ: typ, values: values, read: func(r *reading) ref.Val {
			if u := &r.in.Visitor.User; u.Name != "" {
				return read(u)
			}
			return nil
		}}
	}
	roles := []string{"person", "help_desk", "auditor", "administrator"}
	return []field{
		user("name", cel.StringType, func(u *User) ref.Val { return textValue(u.Name) }),
		user("role", cel.StringType, func(u *User) ref.Val { return oneOf(u.Role, roles) }, roles...),
		user("groups", cel.ListType(cel.StringType), func(u *User) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, u.Groups) }),
	}
}

// elevationFields are of the application that is asked for.
func elevationFields() []field {
	flag := func(name string, read func(elevated) bool) field {
		return field{path: "elevation." + name, claim: "elevation", typ: cel.BoolType, turns: nextElevation, read: func(r *reading) ref.Val {
			return types.Bool(read(r.in.Visitor.elevated(r.app.ID, r.now)))
		}}
	}
	return []field{
		flag("active", func(e elevated) bool { return e.active }),
		flag("approved", func(e elevated) bool { return e.approved }),
		{path: "elevation.age", claim: "elevation", typ: cel.DurationType, turns: nextElevation, since: func(r *reading) time.Time {
			return r.in.Visitor.elevated(r.app.ID, r.now).granted
		}},
	}
}

// elevated is what the live elevations of one application come to.
type elevated struct {
	active, approved bool
	granted          time.Time // of the last that was granted
}

// live reports whether it is open. It ends at its end, not after it.
func (e *Elevation) live(now time.Time) bool {
	return !e.Granted.IsZero() && !e.Granted.After(now) && now.Before(e.Ends)
}

func (v *Visitor) elevated(app string, now time.Time) (all elevated) {
	for i := range v.Elevations {
		e := &v.Elevations[i]
		if e.App != app || !e.live(now) {
			continue
		}
		all.active = true
		all.approved = all.approved || e.Approved
		if e.Granted.After(all.granted) {
			all.granted = e.Granted
		}
	}
	return all
}

// nextElevation is the next instant at which an elevation of the application
// begins or ends.
func nextElevation(r *reading) (next time.Time) {
	if r.in.Visitor == nil {
		return next
	}
	for i := range r.in.Visitor.Elevations {
		e := &r.in.Visitor.Elevations[i]
		if e.App != r.app.ID || e.Granted.IsZero() || !e.Granted.Before(e.Ends) {
			continue
		}
		next = earlier(next, earlier(afterNow(e.Granted, r.now), afterNow(e.Ends, r.now)))
	}
	return next
}
