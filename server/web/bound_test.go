package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"muster/attest"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// boundSecret invites alice to the laptop that is hers already.
func boundSecret(t *testing.T, g *rig) string {
	t.Helper()
	link, err := g.people.Invite(t.Context(), local, people.Invitation{Name: "alice", Device: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(link, "#")
	return secret
}

// prove is what the laptop's agent does with what the page asks.
func prove(t *testing.T, g *rig, ask people.LinkAsk) string {
	t.Helper()
	laptop := sampleLaptop().Device
	offers, err := g.people.OfferLink(t.Context(), laptop, attest.LinkAsk{Link: ask.ID, Nonce: ask.Nonce, Way: attest.WayLoopback})
	if err != nil || len(offers.Offers) != 1 {
		t.Fatalf("offered %+v, %v", offers, err)
	}
	reply, err := g.people.ProveLink(t.Context(), laptop, &attest.LinkProof{Link: ask.ID, Nonce: ask.Nonce,
		SessionHash: offers.Offers[0].SessionHash, Origin: testOrigin, Time: g.now().Unix()}, people.From{})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Confirm
}

func TestBoundInvitation(t *testing.T) {
	g := newRig(t)
	secret := boundSecret(t, g)
	b := g.browser()
	opened := text(b.form("/invitation/open", url.Values{"secret": {secret}}))
	if !strings.Contains(opened, "the laptop <strong>alice-laptop</strong>") || !strings.Contains(opened, `data-laptop="17117"`) {
		t.Errorf("the page does not tell of the laptop:\n%s", opened)
	}
	for _, other := range []string{"d1", "tpm-hw", "Framework", "Debian"} {
		if strings.Contains(opened, other) {
			t.Errorf("the page tells %q of the laptop", other)
		}
	}
	for what, m := range map[string]message{"no word": {Secret: secret}, "an unknown one": {Secret: secret, ID: "o_x", Value: "x"}} {
		if begun := b.json("/invitation/begin", m); begun.StatusCode != http.StatusForbidden || code(begun) != "invitation-laptop" {
			t.Errorf("%s: %d %s", what, begun.StatusCode, code(begun))
		}
	}
	if asked := b.json("/invitation/link", message{Secret: "mso_x"}); asked.StatusCode != http.StatusGone {
		t.Errorf("asked without an invitation: %d %s", asked.StatusCode, code(asked))
	}
	var ask people.LinkAsk
	asked := b.json("/invitation/link", message{Secret: secret})
	if err := json.Unmarshal([]byte(text(asked)), &ask); err != nil || asked.StatusCode != http.StatusOK || ask.Way != session.ByLoopback {
		t.Fatalf("asking: %d %s", asked.StatusCode, text(asked))
	}
	m := message{Secret: secret, ID: ask.ID, Value: prove(t, g, ask)}
	begun := b.json("/invitation/begin", m)
	var reply beginReply
	if err := json.Unmarshal([]byte(text(begun)), &reply); err != nil || begun.StatusCode != http.StatusOK {
		t.Fatalf("beginning: %d %s", begun.StatusCode, text(begun))
	}
	m.Response = b.key.Register(reply.Options)
	without := m
	without.ID, without.Value = "", ""
	if done := b.json("/invitation/finish", without); done.StatusCode != http.StatusForbidden || code(done) != "invitation-laptop" || b.jar[cookieSession] != "" {
		t.Errorf("finishing without a word: %d %s", done.StatusCode, code(done))
	}
	if done := b.json("/invitation/finish", m); done.StatusCode != http.StatusOK {
		t.Fatalf("finishing: %d %s", done.StatusCode, text(done))
	}
	if home := text(b.get("/link")); !strings.Contains(home, "Linked to alice-laptop") {
		t.Error("the session is not linked")
	}
}

// Without the agents' port nothing is bound, and what was bound before says why it
// does not work.
func TestBoundInvitationWithoutPort(t *testing.T) {
	none := newRig(t, func(c *Config) { c.LinkPort = 0 })
	secret := boundSecret(t, none)
	b := none.browser()
	if opened := text(b.form("/invitation/open", url.Values{"secret": {secret}})); !strings.Contains(opened, "link_port is not set") {
		t.Errorf("the page does not say why:\n%s", opened)
	}
	if asked := b.json("/invitation/link", message{Secret: secret}); asked.StatusCode != http.StatusConflict || code(asked) != "link-port" {
		t.Errorf("asking: %d %s", asked.StatusCode, code(asked))
	}
	form := url.Values{"name": {"dave"}, "device": {" d1 "}}
	for port, g := range map[int]*rig{0: none, 17117: newRig(t)} {
		admin := g.join("carol", store.RoleAdministrator)
		if shown := strings.Contains(text(admin.get("/people")), `name="device"`); shown != (port > 0) {
			t.Errorf("port %d: the field is shown: %v", port, shown)
		}
		want := "link-owned" // d1 is alice's
		if port == 0 {
			want = "link-port"
		}
		if made := admin.form("/people/invite", form); code(made) != want {
			t.Errorf("port %d: %d %s, want %s", port, made.StatusCode, code(made), want)
		}
	}
	g := newRig(t)
	admin := g.join("carol", store.RoleAdministrator)
	made := admin.form("/people/invite", url.Values{"name": {"alice"}, "device": {"d1"}})
	if once(t, made) == "" || !strings.Contains(text(made), "It works on that laptop alone") {
		t.Errorf("inviting: %d %s", made.StatusCode, code(made))
	}
	if made := admin.form("/people/invite", url.Values{"name": {"erin"}, "device": {"d7"}}); made.StatusCode != http.StatusBadRequest || code(made) != "invitation-device" {
		t.Errorf("an unknown laptop: %d %s", made.StatusCode, code(made))
	}
}
