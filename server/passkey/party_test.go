package passkey

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/server/passkey/passkeytest"
	"muster/server/reference"
)

// TestNames: a Relying Party starts with names that browsers accept, and no other.
func TestNames(t *testing.T) {
	for _, c := range []struct{ rpID, origin, refusal string }{
		{"muster.example", "https://id.muster.example", ""},
		{"muster.example", "https://muster.example:8443", ""},
		{"muster.localhost", "http://id.muster.localhost:8080", ""},
		{"localhost", "http://localhost:8080", ""},
		{"", "https://muster.example", "rp id"},
		{"Muster.example", "https://muster.example", "lower case"},
		{"muster.example.", "https://muster.example.", "rp id"},
		{"muster", "https://muster", "rp id"},
		{"127.0.0.1", "http://127.0.0.1", "rp id"},
		{"[::1]", "http://[::1]", "rp id"},
		{"https://muster.example", "https://muster.example", "rp id"},
		{"muster.example:443", "https://muster.example", "rp id"},
		{"muster.example", "", "origin"},
		{"muster.example", "http://id.muster.example", "http is for localhost"},
		{"muster.example", "http://localhost", "not muster.example nor below"},
		{"muster.example", "https://muster.example.evil.example", "not muster.example nor below"},
		{"muster.example", "https://notmuster.example", "not muster.example nor below"},
		{"muster.example", "https://evil.example", "not muster.example nor below"},
		{"muster.example", "https://127.0.0.1", "an address"},
		{"muster.example", "https://id.muster.example/", "more or other"},
		{"muster.example", "https://id.muster.example/path", "more or other"},
		{"muster.example", "https://id.muster.example?q", "more or other"},
		{"muster.example", "https://user@id.muster.example", "more or other"},
		{"muster.example", "https://ID.muster.example", "lower case"},
		{"muster.example", "HTTPS://id.muster.example", "more or other"},
		{"muster.example", "https://id.muster.example:443", "leave it out"},
		{"muster.localhost", "http://muster.localhost:80", "leave it out"},
		{"muster.example", "https://id.muster.example:0", "not a port"},
		{"muster.example", "https://id.muster.example:08443", "not a port"},
		{"muster.example", "https://id.muster.example:99999", "not a port"},
		{"muster.example", "https://id.muster.example:", "more or other"},
		{"muster.example", "ftp://id.muster.example", "neither https nor http"},
		{"muster.example", "android:apk-key-hash:abc", "origin"},
		{"muster.example", "null", "origin"},
	} {
		_, err := New(Config{RPID: c.rpID, Origin: c.origin, Name: "muster", Metadata: func() *reference.MDS { return nil }, Now: time.Now})
		if c.refusal == "" && err != nil || c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
			t.Errorf("%s at %s: got %v, want %q", c.rpID, c.origin, err, c.refusal)
		}
	}
	for i, c := range []Config{
		{RPID: "muster.example", Origin: labOrigin, Metadata: func() *reference.MDS { return nil }, Now: time.Now},
		{RPID: "muster.example", Origin: labOrigin, Name: "muster", Now: time.Now},
		{RPID: "muster.example", Origin: labOrigin, Name: "muster", Metadata: func() *reference.MDS { return nil }},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("config %d was accepted though it lacks something", i)
		}
	}
}

// TestOptions: what a browser is asked for, member by member.
func TestOptions(t *testing.T) {
	l := newLab(t)
	first := l.mustRegister(l.authenticator("none"))
	options, c, err := l.p.BeginRegistration(l.user, l.kept)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(options, &got); err != nil {
		t.Fatal(err)
	}
	text := `{"rp":{"id":"muster.example","name":"muster"},
		"user":{"id":"` + b64(l.user.Handle) + `","name":"alice","displayName":"alice"},
		"challenge":"` + b64(c.Challenge) + `","timeout":300000,"attestation":"direct","extensions":{"credProps":true},
		"pubKeyCredParams":[{"type":"public-key","alg":-7},{"type":"public-key","alg":-257},{"type":"public-key","alg":-8}],
		"excludeCredentials":[{"type":"public-key","id":"` + b64(first.ID) + `","transports":["internal"]}],
		"authenticatorSelection":{"residentKey":"required","requireResidentKey":true,"userVerification":"required"}}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("creation options %s", options)
	}
	options, c, err = l.p.BeginSignIn()
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"challenge":"` + b64(c.Challenge) + `","timeout":300000,"rpId":"muster.example","allowCredentials":[],"userVerification":"required"}`; string(options) != want {
		t.Errorf("request options %s", options)
	}
	options, c, err = l.p.BeginVerify(l.user, l.kept)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"challenge":"` + b64(c.Challenge) + `","timeout":300000,"rpId":"muster.example","allowCredentials":[{"type":"public-key","id":"` + b64(first.ID) + `","transports":["internal"]}],"userVerification":"required"}`; string(options) != want {
		t.Errorf("verify options %s", options)
	}
	if _, other, _ := l.p.BeginSignIn(); len(c.Challenge) != 32 || bytes.Equal(other.Challenge, c.Challenge) {
		t.Error("challenges are not 32 bytes of chance")
	}
	if _, _, err := l.p.BeginVerify(l.user, nil); err == nil {
		t.Error("verification without credentials would let every credential answer")
	}
	if _, _, err := l.p.BeginRegistration(User{Name: "alice"}, nil); err == nil {
		t.Error("registration for nobody")
	}
}

// TestCeremonies: every algorithm and format registers, and signs in after both
// ceremony and credential were stored as JSON.
func TestCeremonies(t *testing.T) {
	for _, format := range []string{"none", "self", "packed", "tpm", "android-key"} {
		for _, algorithm := range []int64{es256, rs256, eddsa} {
			if algorithm == eddsa && (format == "tpm" || format == "android-key") {
				continue // neither makes such keys
			}
			l := newLab(t)
			a := l.authenticator(format)
			a.Algorithm, a.Attachment, a.BackupEligible, a.BackupState = algorithm, "cross-platform", true, true
			cred := l.mustRegister(a)
			if cred.Algorithm != algorithm || !cred.UserVerified || !cred.BackupEligible || !cred.Use.BackupState ||
				cred.Attachment != "cross-platform" || !slices.Equal(cred.Transports, []string{"usb"}) || cred.AAGUID != a.AAGUID || !cred.RegisteredAt.Equal(l.now) {
				t.Errorf("%s %d: registered %+v", format, algorithm, cred)
			}
			stored, err := json.Marshal(cred)
			if err != nil {
				t.Fatal(err)
			}
			again := &Credential{}
			if err := json.Unmarshal(stored, again); err != nil {
				t.Fatal(err)
			}
			l.kept = []*Credential{again}
			options, c, err := l.p.BeginSignIn()
			if err != nil {
				t.Fatal(err)
			}
			kept, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			restored := &Ceremony{}
			if err := json.Unmarshal(kept, restored); err != nil {
				t.Fatal(err)
			}
			a.Attachment, a.BackupState = "platform", false
			_, use, err := l.p.FinishSignIn(restored, a.Assert(options), l.find)
			if err != nil {
				t.Fatalf("%s %d: %v", format, algorithm, err)
			}
			if want := (Use{SignCount: 1, UserVerified: true, Attachment: "platform", At: l.now}); *use != want {
				t.Errorf("%s %d: used %+v", format, algorithm, use)
			}
		}
	}
}

// TestRegistrationRefused: each departure from what was asked for is a refusal.
func TestRegistrationRefused(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		change       func(*lab, *passkeytest.Authenticator)
	}{
		{"origin", "another origin", func(_ *lab, a *passkeytest.Authenticator) { a.Origin = "https://evil.example" }},
		{"origin below", "another origin", func(_ *lab, a *passkeytest.Authenticator) { a.Origin = "https://wiki.muster.example" }},
		{"origin case", "another origin", func(_ *lab, a *passkeytest.Authenticator) { a.Origin = "https://ID.muster.example" }},
		{"origin port", "another origin", func(_ *lab, a *passkeytest.Authenticator) { a.Origin = labOrigin + ":443" }},
		{"origin slash", "another origin", func(_ *lab, a *passkeytest.Authenticator) { a.Origin = labOrigin + "/" }},
		{"rp id", "another rp id", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.RPID = "evil.example" }},
		{"type", "another type", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.Type = typeGet }},
		{"cross origin", "across origins", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.CrossOrigin = true }},
		{"top origin", "frame of another", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.TopOrigin = labOrigin }},
		{"user verification", "did not verify", func(_ *lab, a *passkeytest.Authenticator) { a.NoUV = true }},
		{"user presence", "nobody was present", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.NoUP = true }},
		{"backed up", "may not be", func(_ *lab, a *passkeytest.Authenticator) { a.BackupState = true }},
		{"member twice", "stands twice", func(_ *lab, a *passkeytest.Authenticator) {
			a.Lie.ClientData = func(b []byte) []byte { return bytes.Replace(b, []byte("{"), []byte(`{"origin":"`+labOrigin+`",`), 1) }
		}},
		{"member in capitals", "looks like", func(_ *lab, a *passkeytest.Authenticator) {
			a.Lie.ClientData = func(b []byte) []byte { return bytes.Replace(b, []byte(`"crossOrigin"`), []byte(`"CrossOrigin"`), 1) }
		}},
		{"client data behind", "reading response", func(_ *lab, a *passkeytest.Authenticator) {
			a.Lie.ClientData = func(b []byte) []byte { return append(b, '1') }
		}},
		{"late", "expired", func(l *lab, a *passkeytest.Authenticator) {
			a.Lie.ClientData = func(b []byte) []byte { l.now = l.now.Add(Life); return b }
		}},
		{"certificate of another model", "names another AAGUID", func(_ *lab, a *passkeytest.Authenticator) {
			a.Format, a.Lie.CertModel = "packed", reference.AAGUID{9}
		}},
		{"tpm of another model", "names another AAGUID", func(_ *lab, a *passkeytest.Authenticator) {
			a.Format, a.Lie.CertModel = "tpm", reference.AAGUID{9}
		}},
		{"credential id", "different credentials", func(_ *lab, a *passkeytest.Authenticator) {
			a.Lie.AuthData = func(b []byte) []byte { b[60] ^= 1; return b }
		}},
		{"behind authenticator data", "reading", func(_ *lab, a *passkeytest.Authenticator) {
			a.Lie.AuthData = func(b []byte) []byte { return append(b, 0) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			a := l.authenticator("self")
			c.change(l, a)
			cred, err := l.register(a)
			mustRefuse(t, err, c.reason)
			if cred != nil {
				t.Error("a refusal came with a credential")
			}
		})
	}
}

// TestSignInRefused is the same for assertions.
func TestSignInRefused(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		change       func(*lab, *passkeytest.Authenticator)
	}{
		{"origin", "another origin", func(_ *lab, a *passkeytest.Authenticator) { a.Origin = "https://wiki.muster.example" }},
		{"rp id", "another rp id", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.RPID = "id.muster.example" }},
		{"type", "another type", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.Type = typeCreate }},
		{"cross origin", "across origins", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.CrossOrigin = true }},
		{"top origin", "frame of another", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.TopOrigin = labOrigin }},
		{"user verification", "did not verify", func(_ *lab, a *passkeytest.Authenticator) { a.NoUV = true }},
		{"user presence", "nobody was present", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.NoUP = true }},
		{"backed up", "may not be", func(_ *lab, a *passkeytest.Authenticator) { a.BackupState = true }},
		{"eligible now", "eligibility changed", func(_ *lab, a *passkeytest.Authenticator) { a.BackupEligible = true }},
		{"another's handle", "another person's", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.Handle = []byte("bob") }},
		{"no handle", "no user handle", func(_ *lab, a *passkeytest.Authenticator) { a.Lie.NoHandle = true }},
		{"unknown", "unknown credential", func(l *lab, _ *passkeytest.Authenticator) { l.kept = nil }},
		{"owner gone", "belongs to nobody", func(l *lab, _ *passkeytest.Authenticator) { l.user = User{} }},
		{"owner changed", "another person's", func(l *lab, _ *passkeytest.Authenticator) { l.user.Handle = []byte("recycled") }},
		{"another key", "signature", func(l *lab, _ *passkeytest.Authenticator) {
			other := newLab(l.t)
			l.kept[0].PublicKey = other.mustRegister(other.authenticator("none")).PublicKey
		}},
		{"no key", "reading public key", func(l *lab, _ *passkeytest.Authenticator) { l.kept[0].PublicKey = nil }},
		{"another algorithm", "another algorithm", func(l *lab, _ *passkeytest.Authenticator) { l.kept[0].Algorithm = eddsa }},
		{"late", "expired", func(l *lab, a *passkeytest.Authenticator) {
			a.Lie.ClientData = func(b []byte) []byte { l.now = l.now.Add(Life); return b }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			a := l.authenticator("none")
			l.mustRegister(a)
			c.change(l, a)
			cred, use, err := l.signIn(a)
			mustRefuse(t, err, c.reason)
			if cred != nil || use != nil {
				t.Error("a refusal came with a credential")
			}
		})
	}
}

// TestCeremonyCrossed: a ceremony is answered as what it began, by whom, once it
// began at all.
func TestCeremonyCrossed(t *testing.T) {
	l := newLab(t)
	a, b := l.authenticator("none"), l.authenticator("none")
	l.mustRegister(a)
	options, create, err := l.p.BeginRegistration(l.user, nil)
	if err != nil {
		t.Fatal(err)
	}
	response := b.Register(options)
	if _, err := l.p.FinishRegistration(User{Handle: []byte("bob"), Name: "bob"}, create, response); err == nil {
		t.Error("registered for another person")
	}
	_, other, err := l.p.BeginRegistration(l.user, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.p.FinishRegistration(l.user, other, response)
	mustRefuse(t, err, "another challenge")
	_, excluding, err := l.p.BeginRegistration(l.user, []*Credential{{ID: b.Last()}})
	if err != nil {
		t.Fatal(err)
	}
	excluding.Challenge = create.Challenge
	_, err = l.p.FinishRegistration(l.user, excluding, response)
	mustRefuse(t, err, "excluded")
	_, _, err = l.p.FinishSignIn(create, response, l.find)
	mustRefuse(t, err, "began as")
	request, get, err := l.p.BeginVerify(l.user, l.kept)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.p.FinishRegistration(l.user, get, response)
	mustRefuse(t, err, "began as")
	assertion := a.Assert(request)
	get.Session = bytes.Replace(get.Session, []byte(`"known":["`), []byte(`"known":["AAAA`), 1)
	_, _, err = l.p.FinishSignIn(get, assertion, l.find)
	mustRefuse(t, err, "not one of those")
	for _, c := range []*Ceremony{nil, {}, {Challenge: make([]byte, 31), Expires: l.now.Add(time.Hour)}, {Challenge: make([]byte, 32), Expires: l.now.Add(time.Hour)}} {
		_, _, err := l.p.FinishSignIn(c, assertion, l.find)
		mustRefuse(t, err, "ceremony")
	}
	// Another person's credential does not answer for the one who is signed in.
	_, get, err = l.p.BeginVerify(l.user, l.kept)
	if err != nil {
		t.Fatal(err)
	}
	request, err = json.Marshal(requestOptions{Challenge: get.Challenge, RPID: "muster.example"})
	if err != nil {
		t.Fatal(err)
	}
	a.Lie.NoHandle = true
	_, _, err = l.p.FinishSignIn(get, a.Assert(request), func([]byte) (*Credential, User, error) {
		return l.kept[0], User{Handle: []byte("bob"), Name: "bob"}, nil
	})
	mustRefuse(t, err, "another person")
}

// TestPanicDenies: what panics in the middle is a refusal that quotes nothing.
func TestPanicDenies(t *testing.T) {
	l := newLab(t)
	a := l.authenticator("none")
	l.mustRegister(a)
	options, c, err := l.p.BeginSignIn()
	if err != nil {
		t.Fatal(err)
	}
	cred, use, err := l.p.FinishSignIn(c, a.Assert(options), func([]byte) (*Credential, User, error) { panic("the secret") })
	mustRefuse(t, err, "panicked")
	if cred != nil || use != nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic gave %v, %v, %v", cred, use, err)
	}
	l.p.config.Metadata = func() *reference.MDS { panic("the secret") }
	if j := l.p.Judge(l.kept[0]); j.Evidence != None || j.Why != whyWrong {
		t.Errorf("a panic judged %+v", j)
	}
	options, c, err = l.p.BeginRegistration(l.user, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.p.config.Now = func() time.Time { panic("the secret") }
	made, err := l.p.FinishRegistration(l.user, c, l.authenticator("none").Register(options))
	mustRefuse(t, err, "panicked")
	if made != nil {
		t.Error("a panic made a credential")
	}
}

// TestSignCount: a counter that does not grow is told, and never set back.
func TestSignCount(t *testing.T) {
	l := newLab(t)
	a := l.authenticator("none")
	a.Lie.Stuck = true
	l.mustRegister(a)
	for range 2 { // an authenticator without a counter stays at zero
		if _, use, err := l.signIn(a); err != nil || use.CloneWarning {
			t.Fatalf("without a counter: %+v, %v", use, err)
		}
	}
	a.Lie.Stuck = false
	if _, use, err := l.signIn(a); err != nil || use.CloneWarning || use.SignCount != 1 {
		t.Fatalf("grown: %+v, %v", use, err)
	}
	a.Lie.Stuck = true
	if _, use, err := l.signIn(a); err != nil || !use.CloneWarning || use.SignCount != 1 {
		t.Fatalf("stuck: %+v, %v", use, err)
	}
	l.kept[0].Use.SignCount = 100
	if _, use, err := l.signIn(a); err != nil || !use.CloneWarning || use.SignCount != 100 {
		t.Fatalf("behind: %+v, %v", use, err)
	}
}

// TestResponseBounds: what is too long or of no form is refused unread.
func TestResponseBounds(t *testing.T) {
	l := newLab(t)
	a := l.authenticator("none")
	options, c, err := l.p.BeginRegistration(l.user, nil)
	if err != nil {
		t.Fatal(err)
	}
	response := a.Register(options)
	padded := append(bytes.Clone(response), bytes.Repeat([]byte(" "), maxResponse)...)
	_, err = l.p.FinishRegistration(l.user, c, padded)
	mustRefuse(t, err, "bytes")
	for _, bad := range [][]byte{nil, []byte("null"), []byte("{}"), []byte("[]"), []byte(`"x"`), append(bytes.Clone(response), '{'),
		bytes.Replace(response, []byte(`"public-key"`), []byte(`"password"`), 1),
		bytes.Replace(response, []byte(`"rawId":"`), []byte(`"rawId":"AA`), 1),
		bytes.Repeat([]byte("["), 60000)} {
		if made, err := l.p.FinishRegistration(l.user, c, bad); !errors.Is(err, ErrRefused) || made != nil {
			t.Errorf("%.40q: %v", bad, err)
		}
		if _, use, err := l.p.FinishSignIn(c, bad, l.find); !errors.Is(err, ErrRefused) || use != nil {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	if _, err := l.p.FinishRegistration(l.user, c, response); err != nil {
		t.Errorf("the response itself: %v", err)
	}
	if strings.Contains(plain(errors.New("challenge")).Error(), "challenge") {
		t.Error("a foreign error's text went into ours")
	}
}
