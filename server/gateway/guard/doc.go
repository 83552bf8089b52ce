// Package guard puts muster in front of an application that is written in Go, where
// no gateway does. It is three lines:
//
//	g, err := guard.New(guard.Config{Muster: "https://id.example", App: "wiki", Secret: secret})
//	http.Handle("/", g.Protect(app))
//	who := guard.From(r.Context()) // in the application
//
// The credential is that of a gateway of the dialect http, registered at muster for
// this application and as one that enforces restrictions: it does. The application's
// own listener must be the one that browsers reach, since their addresses are taken
// from its connections, and the guard must be the outermost handler.
//
// It guarantees that a request reaches the application only after muster has let that
// very request pass, and without anything that looks like muster's own: X-Muster-*
// headers, in all spellings, and muster's cookies. When muster is away, late or
// answers anything that is not plainly an answer, nobody gets in.
//
// Where muster did not answer, the guard refuses by itself, with the code muster-away
// (503), request-too-large (431), request-unreadable (400) or restricted (403).
//
// It does not end what is running: a WebSocket or a download that was let in goes on.
// It keeps nothing, and trusts no header about where a request comes from.
//
// It needs the standard library alone.
package guard
