package web

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestStaticFiles(t *testing.T) {
	g := newRig(t)
	b, s := g.browser(), sampleSite()
	kinds := map[string]string{"style.css": "text/css; charset=utf-8", "passkey.js": "text/javascript; charset=utf-8", "link.js": "text/javascript; charset=utf-8",
		"htmx.min.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
	if len(kinds) != len(s.assets) {
		t.Errorf("%d files are embedded, %d are known", len(s.assets), len(kinds))
	}
	for name, kind := range kinds {
		answer := b.get("/static/" + s.version + "/" + name)
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != kind || answer.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || text(answer) == "" {
			t.Errorf("%s: %d %v", name, answer.StatusCode, answer.Header)
		}
		for _, path := range []string{"/static/0/" + name, "/static/" + s.version + "/../" + name, "/static/" + s.version + "/no.js", "/static/" + s.version + "/README.md"} {
			if lost := b.get(path); lost.StatusCode == 200 {
				t.Errorf("%s is there", path)
			}
		}
	}
	if icon := b.get("/favicon.ico"); icon.Header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("the icon is %q", icon.Header.Get("Content-Type"))
	}
	part := b.get("/static/"+s.version+"/style.css", func(r *http.Request) { r.Header.Set("Range", "bytes=0-3") })
	if part.StatusCode != http.StatusPartialContent {
		t.Errorf("a part of a file: %d", part.StatusCode)
	}
}

// The vendored file is the one that README.md names, and nobody's edit of it.
func TestVendoredFileIsUnchanged(t *testing.T) {
	readme, err := os.ReadFile("static/README.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(sampleSite().assets["htmx.min.js"].content)
	if !strings.Contains(string(readme), hex.EncodeToString(sum[:])) {
		t.Errorf("htmx.min.js has digest %x, which README.md does not name", sum)
	}
}

// Our own scripts use nothing that the policy forbids, or that would make text markup.
func TestScriptsKeepThePolicy(t *testing.T) {
	for _, name := range []string{"passkey.js", "link.js"} {
		script := string(sampleSite().assets[name].content)
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage", "setAttribute('style", ".style."} {
			if strings.Contains(script, bad) {
				t.Errorf("%s uses %s", name, bad)
			}
		}
	}
}

// Text keeps 4.5:1 on every ground that it stands on, light and dark; borders of
// controls keep 3:1 (WCAG 2.2 §1.4.3, §1.4.11).
func TestContrast(t *testing.T) {
	css := string(sampleSite().assets["style.css"].content)
	schemes := strings.SplitN(css, "@media (prefers-color-scheme: dark)", 2)
	if len(schemes) != 2 {
		t.Fatal("there is no dark scheme")
	}
	variable := regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6})\b`)
	for name, text := range map[string]string{"light": schemes[0], "dark": schemes[1]} {
		colours := map[string]float64{}
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			on   string
			text []string
			want float64
		}{
			{"ground", []string{"ink", "quiet", "accent"}, 4.5},
			{"card", []string{"ink", "quiet", "accent", "ok", "bad", "wait"}, 4.5},
			{"accent", []string{"accent-ink"}, 4.5},
			{"accent-soft", []string{"accent"}, 4.5},
			{"info-soft", []string{"ink", "quiet"}, 4.5},
			{"bad-soft", []string{"ink", "bad", "accent"}, 4.5},
			{"ok-soft", []string{"ink", "ok"}, 4.5},
			{"wait-soft", []string{"ink", "wait", "accent"}, 4.5},
			{"card", []string{"edge"}, 3},
		} {
			for _, one := range pair.text {
				a, b := colours[one], colours[pair.on]
				if got := (max(a, b) + .05) / (min(a, b) + .05); got < pair.want || a == 0 && b == 0 {
					t.Errorf("%s: %s on %s is %.2f:1", name, one, pair.on, got)
				}
			}
		}
	}
}

// luminance of a colour (WCAG 2.2, relative luminance).
func luminance(t *testing.T, hexa string) float64 {
	t.Helper()
	if len(hexa) == 3 {
		hexa = string([]byte{hexa[0], hexa[0], hexa[1], hexa[1], hexa[2], hexa[2]})
	}
	b, err := hex.DecodeString(hexa)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		c := float64(b[i]) / 255
		if c <= .04045 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+.055)/1.055, 2.4)
		}
	}
	return sum
}
