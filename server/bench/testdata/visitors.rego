# The ten rules of visitors.yaml, over sessions, laptops and applications in data.
package muster

import rego.v1

now := time.now_ns()

minute := 60000000000

session := data.sessions[input.session]

laptop := data.laptops[session.link.laptop]

app := data.apps[input.app]

default decision := {"allow": false, "reasons": ["unknown"]}

decision := {"allow": count(reasons) == 0, "reasons": sort(reasons)} if {
	session
	app
}

reasons contains "linked" if not session.link.state == "live"

reasons contains "link-strong" if {
	app.sensitivity >= 2
	not session.link.strength >= 2
}

reasons contains "link-old" if {
	not link_young
	not session.binding in {"dbsc", "mtls"}
}

link_young if now - session.link.at <= 120 * minute

reasons contains "hands" if not hands_fresh

hands_fresh if now - session.verified_at < 480 * minute

reasons contains "bad-model" if not session.passkey.bad == ""

reasons contains "other-system" if not session.passkey.contradicts_os == false

reasons contains "people" if not session.user.role in {"person", "administrator"}

reasons contains "report-fresh" if not report_fresh

report_fresh if now - laptop.reported_at < 90 * minute

reasons contains "system" if not laptop.platform == "linux"

reasons contains "ownership" if {
	app.sensitivity >= 2
	not laptop.ownership == "corporate"
}
