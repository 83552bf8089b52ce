package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestPictures takes a picture of every sample into the folder MUSTER_PICTURES,
// for somebody to look at: light and dark, wide and as narrow as a phone. It
// fails where a page is wider than its window, or the console has something to say.
func TestPictures(t *testing.T) {
	folder := os.Getenv("MUSTER_PICTURES")
	if folder == "" {
		t.Skip("MUSTER_PICTURES names no folder")
	}
	s := sampleSite()
	byName := map[string]sample{}
	for _, sm := range samples(s) {
		byName[sm.name] = sm
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if version, file, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/static/"), "/"); ok && version == s.version {
			s.writeAsset(w, &request{Request: r}, s.assets[file], "no-store")
			return
		}
		name := r.URL.Query().Get("name")
		sm, ok := byName[name]
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
	}))
	defer site.Close()
	// A fragment that is no secret makes pages of secrets show their forms.
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	only := os.Getenv("MUSTER_PICTURE")
	paths := map[string]string{"home": "/", "home-calm": "/", "home-new": "/", "person": "/people/bob", "link-again": "/link"}
	for name, sm := range byName {
		if only != "" && name != only {
			continue
		}
		path := paths[name]
		if path == "" {
			path = "/" + strings.Split(sm.page, "-")[0]
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				address := fmt.Sprintf("%s%s?name=%s", site.URL, path, name)
				if sm.done != "" {
					address += "&done=" + sm.done
				}
				err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
					_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
						Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
					return err
				}), chromedp.Navigate(address))
				if err != nil {
					t.Fatal(err)
				}
				if os.Getenv("MUSTER_PICTURE_OPEN") != "" {
					if _, err := chromedp.Run(ctx, chromedp.Evaluate[int]("document.querySelectorAll('details').forEach(d => d.open = true), 1")); err != nil {
						t.Fatal(err)
					}
				}
				wide, err := chromedp.Run(ctx, chromedp.Evaluate[int64]("document.documentElement.scrollWidth"))
				if err != nil {
					t.Fatal(err)
				}
				if wide > width {
					t.Errorf("%s is %d wide in a window of %d", name, wide, width)
				}
				picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(folder, fmt.Sprintf("%s-%s-%d.png", name, scheme, width))
				if err := os.WriteFile(file, picture, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
