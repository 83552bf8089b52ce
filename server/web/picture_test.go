package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/server/browsertest"
)

// TestPictures opens every sample in a real browser: wide and as narrow as a phone
// none is wider than its window, also with everything unfolded, and the console is
// quiet. With MUSTER_PICTURES it writes a picture of each into that folder, light
// and dark, for somebody to look at; MUSTER_PICTURE names one, MUSTER_PICTURE_OPEN
// unfolds them.
func TestPictures(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and nothing runs beside it that the race detector could see")
	}
	tab := browsertest.Start(t).Profile().Tab()
	s := sampleSite()
	site := httptest.NewServer(pictured(t, s))
	defer site.Close()
	folder, only, unfold := os.Getenv("MUSTER_PICTURES"), os.Getenv("MUSTER_PICTURE"), os.Getenv("MUSTER_PICTURE_OPEN") != ""
	for _, sm := range samples(s) {
		if only != "" && sm.name != only {
			continue
		}
		address := fmt.Sprintf("%s%s?name=%s", site.URL, samplePath(sm), sm.name)
		if sm.done != "" {
			address += "&done=" + sm.done
		}
		tab.Look(1280, "light")
		tab.Go(address)
		if folder != "" {
			if unfold {
				browsertest.Eval[int](tab, unfoldAll)
			}
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{1280, 390} {
					tab.Look(width, scheme)
					tab.Shot(filepath.Join(folder, fmt.Sprintf("%s-%s-%d.png", sm.name, scheme, width)))
				}
			}
		}
		browsertest.Eval[int](tab, unfoldAll)
		for _, width := range []int64{1280, 390} {
			tab.Look(width, "light")
			if wide := browsertest.Eval[int64](tab, "document.documentElement.scrollWidth"); wide > width || wide == 0 {
				t.Errorf("%s is %d wide in a window of %d", sm.name, wide, width)
			}
		}
	}
	for _, said := range tab.Said() {
		// Nobody answers the scripts here, which the browser tells, too.
		if !strings.Contains(said, "Failed to load resource") {
			t.Errorf("the console says %s", said)
		}
	}
}

const unfoldAll = "document.querySelectorAll('details').forEach(d => d.open = true), 1"

// samplePath is where the sample's page stands: the navigation marks it.
func samplePath(sm sample) string {
	for page, path := range map[string]string{
		"home": "/", "person": "/people/bob", "overview": "/office", "devices": "/office/devices", "device": "/office/devices/d1", "held": "/office/sessions",
		"policy": "/office/policy", "audit": "/office/audit", "bypasses": "/office/bypasses", "sign-in": "/sign-in",
	} {
		if sm.page == page {
			return path
		}
	}
	return "/" + strings.Split(sm.page, "-")[0]
}

// pictured serves samples, by name.
func pictured(t *testing.T, s *site) http.Handler {
	byName := map[string]sample{}
	for _, sm := range samples(s) {
		byName[sm.name] = sm
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if version, file, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/static/"), "/"); ok && version == s.version {
			s.writeAsset(w, &request{Request: r}, s.assets[file], "no-store")
			return
		}
		sm, ok := byName[r.URL.Query().Get("name")]
		if !ok {
			http.Error(w, "{}", http.StatusNotFound)
			return
		}
		html := string(sm.draw(t, s, r.URL.Path))
		if sm.block != "layout" { // a part stands in its page
			whole := sample{page: sm.page, block: "layout", title: map[string]string{"invitation": "Your invitation", "recover": "Recover your account", "refusal": "Your invitation"}[sm.page], body: sm.body}
			frame := string(whole.draw(t, s, r.URL.Path))
			before, rest, _ := strings.Cut(frame, "</h1>")
			_, after, _ := strings.Cut(rest, "</main>")
			html = before + "</h1>" + html + "</main>" + after
		}
		s.secure(w, row{pattern: "GET /link"})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	})
}
