// Package extauthz speaks Envoy's external authorization (envoy.service.auth.v3)
// over gRPC.
//
// Everything it asks and answers is what package gateway reads and writes: this is
// one more dialect and no other check. The application is the context extension
// "app" of Envoy's own configuration, never anything that the client sent; the
// gateway shows its credential in the call's metadata (authorization, by
// initial_metadata), by its client certificate, or by a socket of its own, never in
// a header of the request that it asks about.
//
// It guarantees that each check is answered by OK or by a denial: an error, even one
// of ours, is never left to Envoy's failure_mode_allow. Where muster does not answer
// at all, or a check has more than 1 MB, that setting decides: it must stay false.
package extauthz
