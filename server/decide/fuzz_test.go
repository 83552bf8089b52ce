package decide

import (
	"errors"
	"strings"
	"testing"
	"time"

	"muster/server/verify"
)

// FuzzPolicyLoad loads anything. What is refused is refused with a place inside
// the file. What is accepted still denies whoever must be denied, decides
// without an internal error, and is the same when it is loaded again.
func FuzzPolicyLoad(f *testing.F) {
	_, text, err := Default()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text))
	f.Add([]byte(that("device.firewall.state == YES")))
	f.Add([]byte(graceful))
	f.Add([]byte(residual))
	f.Add([]byte(visitorRules + requestRules))
	f.Add([]byte("apps: [{id: a, sensitivity: low, elevation: {lasts: 15m, approval: ops}}]\nrequire: [{id: b, that: \"in_network(request.address, '10.0.0.0/8')\"}]\n"))
	f.Add([]byte("apps: [{id: a, sensitivity: low}]\r\nrequire:\r\n- id: b\r\n  that: \"x \\\r\n    y\"\r\n"))
	f.Add([]byte("apps: &a [*a]\n"))
	f.Add([]byte("require: |+9\n ?\n"))
	env, err := language()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		p, err := env.load("p", data)
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("took %v", took)
		}
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v, error %v", p, err)
		}
		if err != nil {
			inPlace(t, data, err)
			return
		}
		denies(t, p)
		again, err := env.load("p", data)
		if err != nil || again.Digest() != p.Digest() {
			t.Fatalf("loaded once: %v", err)
		}
		for _, a := range p.Apps() {
			in := healthy(a.ID)
			d, e := p.Decide(in), again.Explain(in)
			if d.Outcome != e.Decision.Outcome || len(d.Reasons) != len(e.Decision.Reasons) || !d.Until.Equal(e.Decision.Until) {
				t.Fatalf("two loads decide %+v and %+v", d, e.Decision)
			}
			in = visiting(a.ID)
			r := p.Prepare(in)
			if d := r.For(asking(), in.Now.Add(time.Minute)); d.Outcome > r.Decision.Outcome && in.Now.Add(time.Minute).Before(r.Decision.Until) {
				t.Fatalf("the request loosens %+v to %+v", r.Decision, d)
			}
			if d := p.Decide(in); a.Elevation.Lasts > 0 && d.Outcome > StepUp {
				t.Fatalf("without an elevation %+v", d)
			}
		}
	})
}

// inPlace checks that each problem is somewhere in the file.
func inPlace(t *testing.T, data []byte, err error) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("the error is %T", err)
	}
	lines := strings.Split(string(data), "\n")
	for _, p := range problems {
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Text == "" || strings.Contains(p.Text, "gave up") {
			t.Fatalf("%d lines, and %+v", len(lines), p)
		}
	}
}

// denies checks what no policy can allow.
func denies(t *testing.T, p *Policy) {
	t.Helper()
	for _, a := range p.Apps() {
		for _, change := range []func(*Inputs){
			func(in *Inputs) { in.HasResult = false },
			func(in *Inputs) { in.Device.Device.State = "pending" },
			func(in *Inputs) { in.Device.Device.State = "revoked" },
			func(in *Inputs) { in.Now = in.Device.IssuedAt.Add(p.ReportAge()) },
			func(in *Inputs) { in.App += "x" + a.ID },
			func(in *Inputs) {
				in.Device.Findings = []verify.Finding{{Code: verify.FindingCloned, Tier: verify.Contraindicated}}
			},
		} {
			in := healthy(a.ID)
			change(&in)
			if d := p.Decide(in); d.Outcome != Deny || len(counted(d)) == 0 || d.Reasons[0].Code == codeInternal {
				t.Fatalf("decided %+v", d)
			}
		}
	}
}
