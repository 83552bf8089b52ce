package web

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// element is one of a page, in order.
type element struct {
	name  string
	attrs map[string]string
	text  string // its own and that of what is in it
}

// parseHTML reads a page strictly: what is opened is closed, in order.
func parseHTML(page []byte) ([]*element, error) {
	void := []string{"meta", "link", "input", "br", "hr", "img"}
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict = false // attributes without values
	d.Entity = xml.HTMLEntity
	var all, open []*element
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			if len(open) > 0 {
				return nil, fmt.Errorf("<%s> is not closed", open[len(open)-1].name)
			}
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				if _, twice := e.attrs[a.Name.Local]; twice {
					return nil, fmt.Errorf("<%s> has %s twice", e.name, a.Name.Local)
				}
				e.attrs[a.Name.Local] = a.Value
			}
			all = append(all, e)
			if !slices.Contains(void, e.name) {
				open = append(open, e)
			}
		case xml.EndElement:
			if slices.Contains(void, token.Name.Local) { // the tokenizer ends <path/> and <meta/> itself
				continue
			}
			if len(open) == 0 || open[len(open)-1].name != token.Name.Local {
				return nil, fmt.Errorf("</%s> closes nothing", token.Name.Local)
			}
			open = open[:len(open)-1]
		case xml.CharData:
			for _, e := range open {
				e.text += string(token)
			}
		}
	}
}

// checkHTML looks for what no page of ours may have, and what each must.
func checkHTML(t *testing.T, name string, html []byte, whole bool) []*element {
	t.Helper()
	elements, err := parseHTML(html)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	ids, count := map[string]bool{}, map[string]int{}
	for _, e := range elements {
		count[e.name]++
		if id, ok := e.attrs["id"]; ok {
			if ids[id] || id == "" {
				t.Errorf("%s: id %q is there twice, or empty", name, id)
			}
			ids[id] = true
		}
	}
	for _, e := range elements {
		for key, value := range e.attrs {
			switch {
			case strings.HasPrefix(key, "on"), key == "style", strings.HasPrefix(key, "hx-on"), key == "hx-vals", strings.Contains(value, "js:"):
				t.Errorf("%s: <%s> has %s: nothing inline", name, e.name, key)
			case strings.Contains(strings.ToLower(value), "javascript:"), strings.Contains(value, "ZgotmplZ"):
				t.Errorf("%s: <%s> has %s=%q", name, e.name, key, value)
			case key == "aria-labelledby" || key == "aria-describedby" || key == "for" || key == "data-copy":
				if !ids[value] {
					t.Errorf("%s: <%s> %s names %q, which is not there", name, e.name, key, value)
				}
			case key == "hx-trigger" && strings.Contains(value, "["):
				t.Errorf("%s: a trigger with a filter needs eval: %q", name, value)
			}
		}
		checkElement(t, name, e, elements)
	}
	if !whole {
		return elements
	}
	for _, one := range []string{"html", "title", "h1", "main", "header"} {
		if n := count[one]; n != 1 && (one != "header" || n < 1) {
			t.Errorf("%s: %d of <%s>", name, n, one)
		}
	}
	checkFrame(t, name, elements, ids)
	return elements
}

func checkFrame(t *testing.T, name string, elements []*element, ids map[string]bool) {
	t.Helper()
	skip := false
	for _, e := range elements {
		switch {
		case e.name == "html" && e.attrs["lang"] != "en":
			t.Errorf("%s: no language", name)
		case (e.name == "title" || e.name == "h1") && strings.TrimSpace(e.text) == "":
			t.Errorf("%s: <%s> is empty", name, e.name)
		case e.name == "a" && strings.HasPrefix(e.attrs["href"], "#"):
			skip = skip || ids[e.attrs["href"][1:]]
		}
	}
	if !skip || !ids["main"] {
		t.Errorf("%s: no way to skip to the content", name)
	}
}

func checkElement(t *testing.T, name string, e *element, all []*element) {
	t.Helper()
	switch e.name {
	case "style", "iframe", "object", "embed", "base":
		t.Errorf("%s: <%s>", name, e.name)
	case "script":
		if !strings.HasPrefix(e.attrs["src"], "/static/") || strings.TrimSpace(e.text) != "" {
			t.Errorf("%s: a script that is not a file of ours: %v", name, e.attrs)
		}
	case "button", "a", "summary":
		if strings.TrimSpace(e.text) == "" {
			t.Errorf("%s: <%s> says nothing", name, e.name)
		}
	case "svg":
		if e.attrs["aria-hidden"] != "true" {
			t.Errorf("%s: a picture that is read out", name)
		}
	case "img":
		if _, ok := e.attrs["alt"]; !ok {
			t.Errorf("%s: an image without alt", name)
		}
	case "input", "select", "textarea":
		if e.attrs["type"] == "hidden" {
			return
		}
		if !slices.ContainsFunc(all, func(l *element) bool {
			return l.name == "label" && l.attrs["for"] == e.attrs["id"] && strings.TrimSpace(l.text) != ""
		}) {
			t.Errorf("%s: <%s name=%q> has no label", name, e.name, e.attrs["name"])
		}
	case "form":
		_, script := e.attrs["data-ceremony"]
		_, code := e.attrs["data-code"]
		_, hx := e.attrs["hx-post"]
		// What only asks may be a GET; nothing that changes anything is.
		filter := e.attrs["method"] == "get" && e.attrs["class"] == "filter card"
		if !script && !code && !hx && (e.attrs["method"] != "post" && !filter || !strings.HasPrefix(e.attrs["action"], "/")) {
			t.Errorf("%s: a form that does not post to us: %v", name, e.attrs)
		}
	}
}

// Every page and part, in every state of the samples, is well formed, has nothing
// inline and is labelled; what it links and posts to stands in the route table.
func TestPagesAreSoundHTML(t *testing.T) {
	s := sampleSite()
	posts, drawn := map[string]row{}, map[string]bool{}
	mux := http.NewServeMux()
	for _, r := range s.table() {
		mux.Handle(r.pattern, http.NotFoundHandler())
		posts[r.pattern] = r
	}
	for _, sm := range samples(s) {
		drawn[sm.page] = true
		for _, e := range checkHTML(t, sm.name, sm.draw(t, s, "/"), sm.block == "layout") {
			if href := e.attrs["href"]; e.name == "a" && strings.HasPrefix(href, "/") {
				r, _ := http.NewRequest(http.MethodGet, href, nil)
				if _, pattern := mux.Handler(r); pattern == "GET /" || pattern == "" {
					t.Errorf("%s: no page at %q", sm.name, href)
				}
			}
			if e.name != "form" {
				continue
			}
			target, want := e.attrs["action"], formBody
			if base, ok := e.attrs["data-ceremony"]; ok {
				for _, half := range []string{"/begin", "/finish"} {
					if posts["POST "+base+half].body != jsonBody {
						t.Errorf("%s: no ceremony %q", sm.name, base+half)
					}
				}
				continue
			}
			if hx, ok := e.attrs["hx-post"]; ok {
				target = hx
			}
			if _, code := e.attrs["data-code"]; code {
				continue
			}
			if e.attrs["method"] == "get" {
				if posts["GET "+target].handle == nil {
					t.Errorf("%s: a form asks %q, which is no page", sm.name, target)
				}
				continue
			}
			route, ok := posts["POST "+target]
			if !ok || route.body != want {
				t.Errorf("%s: a form posts to %q, which takes none", sm.name, target)
			}
			if _, fresh := e.attrs["data-fresh"]; ok && route.access == ByFresh && !fresh {
				t.Errorf("%s: the form of %q does not confirm first", sm.name, target)
			}
		}
	}
	for name := range s.pages {
		if !drawn[name] {
			t.Errorf("page %q has no sample", name)
		}
	}
}

// The parser must find what it looks for.
func TestParseHTMLIsStrict(t *testing.T) {
	for _, bad := range []string{`<p>`, `</p>`, `<div><p></div></p>`, `<p id="a" id="b"></p>`, `<p`, `<a href="x></a>`} {
		if elements, err := parseHTML([]byte(bad)); err == nil {
			t.Errorf("%q passes as %v", bad, elements)
		}
	}
}

// Nothing that others wrote reaches a page as markup.
func TestPagesEscape(t *testing.T) {
	s := sampleSite()
	const evil = `"><script>alert(1)</script><b onclick='x'>{{.}}`
	who := sampleWho("administrator")
	who.Person.Name = evil
	v := samplePasskeys(s)
	v.Passkeys[0].Name, v.Passkeys[0].Model, v.RPID = evil, evil, evil
	laptop := sampleLaptop()
	laptop.Name, laptop.CauseText, laptop.Decision.Reasons[0].Text, laptop.Decision.Reasons[0].Fix = evil, evil, evil, "do `"+evil+"`"
	view := laptopView{Laptop: laptop, Outcome: mark{"bad", evil}}
	view.Wrong, view.Unknown, view.Well = s.claimViews(laptop)
	for name, body := range map[string]any{"passkeys": v, "laptops": []laptopView{view}, "sign-in": signInView{Next: evil}} {
		sm := sample{name: name, page: name, block: "layout", title: evil, role: "person", body: body}
		page := string(sm.draw(t, s, "/"))
		if strings.Contains(page, "<script>alert") || strings.Contains(page, "<b onclick") {
			t.Errorf("%s lets markup through", name)
		}
		checkHTML(t, name, []byte(page), true)
	}
	// What the query says was done is one of our sentences or nothing.
	if doneWords(evil) != "" || doneWords("") != "" {
		t.Error("done repeats what the query says")
	}
}
