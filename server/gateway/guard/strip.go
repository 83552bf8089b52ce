package guard

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// Names of muster's cookies begin so, and those of its headers, in lower case.
const (
	cookiePrefix = "__host-muster"
	headerPrefix = "x-muster-"
)

// targetOf is path and query as the client sent them, whatever handlers outside of
// this one made of them: what rules are about, and where a browser returns to. ok is
// false where there is no path, as in CONNECT and OPTIONS *.
func targetOf(r *http.Request) (target string, ok bool) {
	switch {
	case strings.HasPrefix(r.RequestURI, "/"):
		return r.RequestURI, true
	case r.RequestURI == "" || r.URL.Scheme != "": // no server has read it, or it has absolute form
		target = r.URL.RequestURI()
	}
	return target, strings.HasPrefix(target, "/")
}

// reserved reports whether a target is one of muster's own on this host, spelt in
// the one plain way. Others are the application's, behind the check.
func reserved(target string) bool {
	p, _, _ := strings.Cut(target, "?")
	return strings.HasPrefix(p, "/.muster/") && path.Clean(p) == p && !strings.ContainsAny(p, "%\\;#")
}

// strip is the request as the application sees it: without what is muster's, and
// without what only looks so.
func strip(r *http.Request, who Identity) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), whoKey{}, who))
	r.Header = stripHeader(r.Header)
	stripUpgrade(r.Header)
	// What comes behind a body was not asked about, and some applications take it for
	// headers.
	r.Trailer = nil
	delete(r.Header, "Trailer")
	if ours, others := sortCookies(r.Header["Cookie"]); ours != "" {
		delete(r.Header, "Cookie")
		if others != "" {
			r.Header["Cookie"] = []string{others}
		}
	}
	return r
}

// stripUpgrade leaves WebSockets. Any other protocol, h2c above all, would be a tunnel
// in which requests reach the application unasked about.
func stripUpgrade(h http.Header) {
	values := h["Upgrade"]
	if len(values) == 0 {
		return
	}
	delete(h, "Http2-Settings")
	if len(values) == 1 && strings.EqualFold(strings.TrimSpace(values[0]), "websocket") {
		h["Connection"] = []string{"Upgrade"}
		return
	}
	delete(h, "Upgrade")
	delete(h, "Connection")
}

// stripHeader copies headers without muster's.
func stripHeader(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if !strings.HasPrefix(plain(name), headerPrefix) {
			out[name] = values
		}
	}
	return out
}

// plain is a header's name as those see it who keep names as variables: any
// character but letters and digits is the same one.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
}

// sortCookies parts muster's cookies from the others: the ones are no business of the
// application, the others none of muster's. A pair that has the name anywhere is
// muster's: proxies join lines by commas, so that one may hide in another's value.
func sortCookies(lines []string) (ours, others string) {
	var own, rest []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			switch {
			case strings.Contains(strings.ToLower(pair), cookiePrefix):
				own = append(own, pair)
			case pair != "":
				rest = append(rest, pair)
			}
		}
	}
	return strings.Join(own, "; "), strings.Join(rest, "; ")
}

// addressOf is scheme and host of muster with a target.
func addressOf(muster *url.URL, target string) *url.URL {
	p, query, _ := strings.Cut(target, "?")
	return &url.URL{Scheme: muster.Scheme, Host: muster.Host, Path: p, RawQuery: query}
}
