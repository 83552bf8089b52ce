package people

import (
	"encoding/json"
	"strings"
	"testing"

	"muster/server/store"
)

// What happened to a laptop goes to each administrator once and to the webhook, and
// of other keys to its owner; nothing of it to anybody else.
func TestLaptopNotices(t *testing.T) {
	o := newOffice(t, func(c *Config) {
		c.Administrators = []string{"security@muster.example", "alice@muster.example", "security@muster.example"}
	})
	o.staff()
	evil := "db gained CN={origin}\r\nBcc: x"
	o.change(func(tx *store.Tx) error {
		return o.Drifted(tx, "d1", "", []string{evil, "firmware has another version or settings (PCR 0)"})
	})
	for _, to := range []string{"security@muster.example", "alice@muster.example"} {
		list := o.bodies("mail", to)
		if len(list) != 1 || list[0].Kind != "boot-drift" || list[0].Person != "" {
			t.Fatalf("%s reads %+v", to, list)
		}
		n := list[0]
		if !strings.Contains(n.Text, "The laptop d1 starts in another way than before: db gained CN={origin}  Bcc: x, firmware has") ||
			!strings.Contains(n.Fix, officeOrigin+"/office/devices/d1;") || strings.ContainsAny(n.Text+n.Fix+n.Subject, "\r\n") {
			t.Errorf("%s reads %+v", to, n)
		}
	}
	if list := o.bodies("webhook", ""); len(list) != 1 || list[0].Kind != "boot-drift" {
		t.Errorf("the webhook gets %+v", list)
	}

	const why = "This system was enrolled on another machine: its disk was moved, or copied."
	for owner, told := range map[string]bool{"alice": true, "nobody": false, "": false} {
		before := len(o.bodies("webhook", ""))
		o.change(func(tx *store.Tx) error { return o.Moved(tx, "d2", "x", owner, "disk-moved", why) })
		hooks := o.bodies("webhook", "")[before:]
		if got := len(hooks) == 2; got != told || hooks[0].Kind != "laptop-moved" || hooks[0].Person != "" {
			t.Errorf("owner %q: the webhook gets %+v", owner, hooks)
		}
		if told && (hooks[1].Kind != "laptop-waits" || hooks[1].Person != owner || !strings.HasSuffix(hooks[1].Text, why) || !strings.Contains(hooks[1].Fix, officeOrigin+"/laptops,")) {
			t.Errorf("%s reads %+v", owner, hooks[1])
		}
		if detail, err := json.Marshal(hooks[0].Detail); err != nil || !strings.Contains(string(detail), `"cause":"disk-moved"`) {
			t.Errorf("the detail is %s, %v", detail, err)
		}
	}

	// Somebody who is disabled hears nothing; before there are people, nobody does.
	before := len(o.notices())
	o.change(func(tx *store.Tx) error {
		person, err := tx.PersonByName("alice")
		if err == nil {
			_, err = tx.DisablePerson(person.ID, "left")
		}
		if err == nil {
			err = o.Moved(tx, "d2", "x", "alice", "disk-moved", why)
		}
		return err
	})
	if got := len(o.notices()) - before; got != 3 {
		t.Errorf("%d notices about a disabled owner's laptop, want two mails and the webhook's", got)
	}
	o.change(func(tx *store.Tx) error {
		var none *People
		if err := none.Drifted(tx, "d1", "", nil); err != nil {
			return err
		}
		return none.Moved(tx, "d1", "", "alice", "", "")
	})
	if got := len(o.notices()) - before; got != 3 {
		t.Errorf("somebody told: %d", got)
	}
}
