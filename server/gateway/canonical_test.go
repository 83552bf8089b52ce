package gateway

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
)

func TestCanonical(t *testing.T) {
	for target, want := range map[string]string{
		"/":                    "/",
		"/a/b/":                "/a/b/",
		"/a?b=/../c;d%2fe":     "/a",
		"/a%20b":               "/a b",
		"/%61dmin":             "/admin",
		"/caf%C3%A9":           "/café",
		"/café":                "/café",
		"/100%25":              "/100%",
		"/100%25zz":            "/100%zz",
		"/.well-known/x":       "/.well-known/x",
		"/a..b/.c/d.":          "/a..b/.c/d.",
		"/_a-b~c!$&'()*+,=:@d": "/_a-b~c!$&'()*+,=:@d",
		"/a?":                  "/a",
		"/a?b?c":               "/a",
	} {
		if got, ok := canonical(target); !ok || got != want {
			t.Errorf("%q: %q, %v, want %q", target, got, ok, want)
		}
	}
}

// ambiguous are targets that two readers may understand differently, or that are
// none.
func ambiguous() []string {
	return []string{
		"", "*", "a", "?", "admin", "?/admin",
		"http://wiki.example/a", "https://evil.example/", "http:/a", "//evil.example/a", "wiki.example:443",
		"//", "/a//b", "/a//", "///", "/public//../admin",
		"/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/../admin", "/a/./b", "/.../a", "/a/....",
		"/%2e", "/%2e%2e/a", "/a/%2E%2e/admin", "/a/.%2e/admin", "/a/%2e./admin", "/public/%2e%2e%2fadmin",
		"/a%2fb", "/a%2Fb", "/public%2f..%2fadmin", "/%2fadmin", "/a%5cb", "/a%5C..%5cadmin", `/a\b`, `/\evil.example`,
		"/a;b", "/a;b/../c", "/public/..;/admin", "/a%3bb", "/a%3Bjsessionid=1", "/;/admin",
		"/a#b", "/a?b#c", "/#/admin", "/a%23b", "/public?#/../admin", "/a%3fb", "/a%3Fb=c",
		"/a%", "/a%2", "/a%zz", "/a%2z", "/a%u002f", "/%", "/%%", "/%%32%66",
		"/a%252fb", "/a%252e%252e/admin", "/a%25%32%66", "/%25252e", "/a%25u002e", "/a%25U002e", "/a%255c",
		"/a%00", "/a%00.png", "/a\x00", "/a%0d%0aX-Muster-User:%20root", "/a%09", "/a\tb", "/a%7f", "/a\x7f", "/a%c2%85",
		"/%ff", "/a\xff", "/%c0%af", "/%c0%ae%c0%ae/admin", "/%e0%80%af", "/%ed%a0%80", "/%f4%90%80%80",
	}
}

func TestCanonicalIsUnknownWhereItIsAmbiguous(t *testing.T) {
	for _, target := range ambiguous() {
		if got, ok := canonical(target); ok || got != "" {
			t.Errorf("%q means %q", target, got)
		}
	}
}

// FuzzCanonical: a path that is known has one reading, which the standard library
// shares, and no reader finds more in it.
func FuzzCanonical(f *testing.F) {
	for _, target := range append(ambiguous(), "/", "/a%20b?c", "/caf%C3%A9", "/100%25") {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		p, ok := canonical(target)
		if !ok {
			if p != "" {
				t.Fatalf("%q is unknown and %q", target, p)
			}
			return
		}
		if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.ContainsAny(p, "\\;#?") ||
			strings.ContainsFunc(p, unicode.IsControl) || strings.Contains(p+"/", "/../") || strings.Contains(p+"/", "/./") {
			t.Fatalf("%q means %q", target, p)
		}
		raw, _, _ := strings.Cut(target, "?")
		if u, err := url.PathUnescape(raw); err != nil || u != p {
			t.Fatalf("%q means %q here and %q, %v there", target, p, u, err)
		}
		if again, err := url.PathUnescape(p); err == nil && again != p {
			t.Fatalf("%q means %q, which means %q", target, p, again)
		}
	})
}

func TestBackTo(t *testing.T) {
	for target, want := range map[string]string{
		"/a?b=c&d":               "/a?b=c&d",
		"/group%2Fproject/;x":    "/group%2Fproject/;x",
		"/a?next=//evil.example": "/a?next=//evil.example",
		"/.musters":              "/.musters",
		"/a/.muster/b":           "/a/.muster/b",
	} {
		if got := backTo(target); got != want {
			t.Errorf("%q: %q", target, got)
		}
	}
	for _, target := range []string{
		"", "a", "*", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "/%5cevil.example", "/%2fevil.example/",
		"/.//evil.example", "/..//evil.example", "/a/../..//evil.example",
		"http://evil.example", "https:evil.example", "javascript:alert(1)", "/a b", "/a\nb", "/a%0d%0ab", "/a\tb", "/a#b", "/a%00",
		"/.muster/start", "/.muster", "/.muster/", "/./.muster/start", "/a/../.muster/start", "/%2emuster/start", "/%2e%2e/.muster/start",
		"/%252emuster/start", "/.MUSTER/start", "/.muster%2fstart", "/" + strings.Repeat("a", maxBack), "/%zz", "/\xff",
	} {
		if got := backTo(target); got != "/" {
			t.Errorf("%q leads to %q", target, got)
		}
	}
}

// FuzzBackTo: whatever a target is, a browser that is sent there stays at its host
// and out of the reserved paths.
func FuzzBackTo(f *testing.F) {
	for _, target := range append(ambiguous(), "/.muster/start", "/a?b", "/%2emuster/x", "/%2fevil") {
		f.Add(target)
	}
	base, err := url.Parse("https://wiki.example/x/y")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		back := backTo(target)
		to, err := base.Parse(back)
		if err != nil || to.Scheme != "https" || to.Host != "wiki.example" || to.User != nil || to.Fragment != "" ||
			strings.HasPrefix(to.Path, reserved) || len(back) > 4*maxBack {
			t.Fatalf("%q leads to %q, %v", target, to, err)
		}
		if strings.ContainsFunc(back, unicode.IsControl) || strings.ContainsAny(back, "\\ ") {
			t.Fatalf("%q becomes %q", target, back)
		}
	})
}
