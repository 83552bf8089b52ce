package people

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/server/session"
	"muster/server/store"
)

// words are what a notice says. In text and fix, {name} stands for that member of
// the notice's detail.
type words struct{ subject, text, fix string }

// notMe is what to do about what one did not do.
const notMe = " If this was not you: sign in at {origin}, end every other session under My sessions, remove passkeys that are not yours, and tell an administrator."

// cancelIt is what to do about a recovery that one did not want.
const cancelIt = "If this was not you: sign in at {origin} now and cancel it, or ask an administrator to."

// wordsOf are the words of each kind of notice. The kinds are stable: programs
// read them.
var wordsOf = map[string]words{
	"passkey-added": {"A passkey was added to your account", "Another passkey can sign in as you from now on, of the kind: {model}.",
		"For 24 hours any older session can remove it again." + notMe},
	"passkey-removed": {"A passkey was removed from your account", "The passkey {name} does not sign in any more, and the sessions that it opened have ended.",
		"Delete it where it is stored, too." + notMe},
	"passkey-model": {"A passkey of yours is not trusted any more", "The maker of your passkey {name} says that its kind is not safe: {status}. It does not sign in any more.",
		"Sign in with another passkey at {origin} and add a new one; without another, ask for recovery."},
	"person-changed": {"Your account was changed", "{by} changed what muster keeps of you: {fields}.",
		"If you did not expect this, ask an administrator."},
	"person-disabled": {"Your account was disabled", "Your account was disabled by {by}, and all of your sessions have ended: {why}.",
		"If you did not expect this, ask an administrator."},
	"person-enabled": {"Your account was enabled", "You can sign in again; {by} enabled your account.",
		"Sign in at {origin}."},
	"role-given": {"You gave somebody a role", "{name} gets the role {role}, by {by}: with it, what it may do in muster.",
		"There is nothing to do if this was you. If not: withdraw the invitation or take the role back at once." + notMe},
	"program-created": {"You made a token for a program", "A token with the label {label} was made in your name, for: {scopes}.",
		"It ends under Programs." + notMe},
	"laptop-linked": {"A laptop was linked to your account", "You are signed in on the laptop {laptop} for the first time, from {address}.",
		"There is nothing to do if this was you." + notMe},
	"link-relay-refused": {"Somebody tried to use your laptop's good name", "The laptop {laptop} was asked to vouch for a browser that is not on it: one of {asked_by}, at {address}. This was refused, and nothing was given away.",
		"If somebody sent you a link or asked you to press a button, do not do it again, and tell an administrator."},
	causeMoved: {"A session of yours was ended", "A session that was linked to one of your laptops was shown from another one, {laptop}. It was ended, since its cookie may have been copied.",
		"Sign in again where you work." + notMe},
	"recovery-started": {"Recovery of your account was begun", "{begun_by} began to recover your passkeys. It needs an approval yet.", cancelIt},
	"recovery-approved": {"Recovery of your account was approved", "{approved} approved the recovery of your passkeys. By laptop it can be finished from {ready_at} on; by administrators, with the link that they hand over. It will replace every passkey of yours and end all sessions.",
		cancelIt},
	"recovery-cancelled": {"Recovery of your account was cancelled", "{by} ended the recovery of your passkeys: {cause}. Nothing was changed.",
		"If you still need it, begin again."},
	"recovered": {"Your account was recovered", "A new passkey replaced all that you had, and every session was ended.",
		"If this was not you: tell an administrator at once, who can disable the account."},
	"elevation-asked": {"You asked for privileged access", "Privileged access to {app} for {lasts} was asked for in your name: {why}. It waits for the approval of another person, of the group {approval} or an administrator.",
		"There is nothing to do if this was you." + notMe},
	"elevation-waits": {"Somebody asks for privileged access", "{person} asks for privileged access to {app} for {lasts}, and says: {why}. It waits for your approval, or another's of {approval}, for 15 minutes.",
		"Approve or decline it at {origin} under Privileged access. Approve only what you know about."},
	"elevation-granted": {"You have privileged access", "You have privileged access to {app} for {lasts}, let in by {by}: {why}.",
		"It ends by itself; end it sooner under Privileged access." + notMe},
	"bypass-added": {"You let a rule pass", "The rule {rule} is let pass for {of} until {until}, by {by}: {why}.",
		"It ends by itself, or under Bypasses. If this was not you: end it at once." + notMe},
	"readmission-asked": {"A laptop of yours waits for approval", "Your laptop {laptop} has new keys, and you asked to let it in again. It waits for an approver.",
		"There is nothing to do." + notMe},
	"laptop-waits": {"A laptop of yours waits to be let in again", "Your laptop {laptop} shows other keys than before, and opens nothing until it is let in again. {why}",
		"If you know why, ask for it back at {origin}/laptops, with the code that muster-agent status shows on it. If you do not, leave it alone and tell an administrator."},
	"laptop-moved": {"A laptop came back with other keys", "The laptop {laptop} of {owner} shows other keys than before, and waits. {why}",
		"Its owner can ask for it back; or compare the code that it shows, at {origin}/office/devices/{device}. If nobody knows why, let the laptop be looked at."},
	"boot-drift": {"A laptop starts in another way", "The laptop {laptop} starts in another way than before: {changes}.",
		"If its firmware or system was updated, approve it at {origin}/office/devices/{device}; if nobody knows of an update, refuse it there and let the laptop be looked at."},
	"laptop-readmitted": {"A laptop of yours was let in again", "Your laptop {laptop} has new keys, and was let in again by {by}.",
		"There is nothing to do if you asked for it." + notMe},
}

// concernsAll are the kinds of which administrators hear by mail.
func concernsAll(kind string) bool {
	return strings.HasPrefix(kind, "recover") || kind == "link-relay-refused" || kind == "role-given" ||
		kind == "elevation-asked" || kind == "bypass-added"
}

// tellRole tells who gives somebody a role, and administrators: a thief who came to
// an administrator's fresh hands makes one of their own. Who works on the server's
// machine needs no telling.
func (p *People) tellRole(tx *store.Tx, by Actor, name string, role store.Role) error {
	giver, ok := strings.CutPrefix(string(by), "person:")
	if !ok || role == store.RolePerson {
		return nil
	}
	person, err := tx.PersonByName(giver)
	if err != nil {
		return err
	}
	return p.notify(tx, person, "role-given", map[string]any{"by": by, "name": name, "role": role})
}

// notice is the body in the outbox: a webhook's JSON as it is, and what a mail is
// made of.
type notice struct {
	Kind    string    `json:"kind"`
	Person  string    `json:"person"`
	At      time.Time `json:"at"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Fix     string    `json:"fix"`
	Detail  any       `json:"detail,omitempty"`
}

// notify puts a notice to a person, and to the webhook, into the outbox.
// Administrators hear by mail of what concerns the whole. body is never a secret.
func (p *People) notify(tx *store.Tx, person *store.Person, kind string, body any) error {
	n := notice{Kind: kind, Person: person.Name, At: tx.Now(), Detail: body}
	says, known := wordsOf[kind]
	if !known {
		says = words{"Something changed in your account", "This happened: " + kind + ".", strings.TrimSpace(notMe)}
	}
	fill := p.filler(body)
	n.Subject, n.Text, n.Fix = says.subject, fill(says.text), fill(says.fix)
	mine, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("writing notice: %w", err)
	}
	var list []*store.Notice
	if p.Webhook {
		list = append(list, &store.Notice{Channel: "webhook", Kind: kind, Body: mine})
	}
	if p.Mail && person.Mail != "" {
		list = append(list, &store.Notice{Channel: "mail", To: person.Mail, Kind: kind, Body: mine})
	}
	if p.Mail && concernsAll(kind) {
		// The words are to the person; who else reads them must know whom.
		n.Subject = person.Name + ": " + n.Subject
		n.Text = "This was told to " + person.Name + ":\n\n" + n.Text
		theirs, err := json.Marshal(n)
		if err != nil {
			return fmt.Errorf("writing notice: %w", err)
		}
		for i, to := range p.Administrators {
			if to != person.Mail && !slices.Contains(p.Administrators[:i], to) {
				list = append(list, &store.Notice{Channel: "mail", To: to, Kind: kind, Body: theirs})
			}
		}
	}
	return post(tx, list)
}

// filler returns what replaces {name} by that member of a notice's detail, on one
// line: names of laptops are chosen by whoever has one. What is not there is
// "unknown".
func (p *People) filler(body any) func(string) string {
	known := map[string]string{"origin": p.Origin}
	if detail, ok := body.(map[string]any); ok {
		for name, value := range detail {
			if _, ours := known[name]; !ours {
				known[name] = session.Cut(spoken(value))
			}
		}
	}
	return func(text string) string {
		var b strings.Builder
		for {
			before, rest, found := strings.Cut(text, "{")
			b.WriteString(before)
			if !found {
				return b.String()
			}
			name, after, _ := strings.Cut(rest, "}")
			if value := known[name]; value != "" {
				b.WriteString(value)
			} else {
				b.WriteString("unknown")
			}
			text = after
		}
	}
}

// spoken is a value as a sentence has it.
func spoken(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, ", ")
	case Actor:
		return strings.TrimPrefix(string(v), "person:")
	}
	return fmt.Sprint(value)
}
