package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"time"
)

// staticFiles leaves README.md out.
//
//go:embed static/*.js static/*.css static/*.svg
var staticFiles embed.FS

const staticPattern = "/static/{version}/{file}"

// asset is a static file.
type asset struct {
	content []byte
	kind    string // Content-Type
}

// readAssets reads what is embedded. The version is of all files together, so
// that one script finds another beside it.
func readAssets() (map[string]asset, string) {
	// By name, not by content: a browser told to sniff nothing believes us.
	kinds := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err)
	}
	assets, sum := make(map[string]asset, len(entries)), sha256.New()
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum.Write([]byte(e.Name() + "\x00" + strconv.Itoa(len(content)) + "\x00"))
		sum.Write(content)
		assets[e.Name()] = asset{content, kinds[path.Ext(e.Name())]}
	}
	return assets, hex.EncodeToString(sum.Sum(nil)[:10])
}

// static serves a file under its version, for ever; there is no other version.
func (s *site) static(w http.ResponseWriter, r *request) error {
	a, ok := s.assets[r.PathValue("file")]
	if !ok || r.PathValue("version") != s.version {
		return refusedGone()
	}
	s.writeAsset(w, r, a, "public, max-age=31536000, immutable")
	return nil
}

// favicon is asked for by browsers without a page, too.
func (s *site) favicon(w http.ResponseWriter, r *request) error {
	s.writeAsset(w, r, s.assets["icon.svg"], "public, max-age=86400")
	return nil
}

func (s *site) writeAsset(w http.ResponseWriter, r *request, a asset, cache string) {
	h := w.Header()
	h.Set("Cache-Control", cache)
	h.Set("Content-Type", a.kind)
	http.ServeContent(w, r.Request, "", time.Time{}, bytes.NewReader(a.content))
}

// asset is the path of a static file, for templates.
func (s *site) asset(name string) (string, error) {
	if _, ok := s.assets[name]; !ok {
		return "", fmt.Errorf("no static file %q", name)
	}
	return "/static/" + s.version + "/" + name, nil
}
