package web

import (
	"net/http"

	"muster/server/passkey"
)

// SessionCookie is the name of the cookie of muster's own host.
const SessionCookie = "__Host-muster"

// The cookies. The __Host- prefix keeps them to this very host over a secure
// connection: no other host of the domain can set or read them (RFC 6265bis
// §4.1.3.2).
const (
	cookieSession  = SessionCookie
	cookieCeremony = "__Host-muster-ceremony"
)

// maxCookie bounds what is looked at: longer values are none of ours.
const maxCookie = 4 << 10

// setSession gives the browser its session. It has no age: it ends with the
// browser or with the server's limits, whichever is first.
func setSession(w http.ResponseWriter, secret string) {
	setCookie(w, cookieSession, secret, http.SameSiteLaxMode, 0)
}

func clearSession(w http.ResponseWriter) {
	setCookie(w, cookieSession, "", http.SameSiteLaxMode, -1)
}

// setCeremony keeps a sealed ceremony in the browser that began it.
func setCeremony(w http.ResponseWriter, sealed string) {
	setCookie(w, cookieCeremony, sealed, http.SameSiteStrictMode, int(passkey.Life.Seconds()))
}

func clearCeremony(w http.ResponseWriter) {
	setCookie(w, cookieCeremony, "", http.SameSiteStrictMode, -1)
}

func setCookie(w http.ResponseWriter, name, value string, same http.SameSite, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: same, MaxAge: age,
	})
}

// cookie reads one of ours. Two of a name are none: a browser sends two only
// when somebody else put one there.
func cookie(r *http.Request, name string) string {
	found := r.CookiesNamed(name)
	if len(found) != 1 || len(found[0].Value) > maxCookie {
		return ""
	}
	return found[0].Value
}
