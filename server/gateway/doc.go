// Package gateway serves decisions to those who enforce them: to gateways by
// forward authentication, each kind in its own dialect; to programs by AuthZEN 1.0;
// and what a token is worth by introspection. Envoy's ext_authz is package extauthz.
// README.md beside it is the reference for who writes a gateway's configuration.
//
// It decides nothing and keeps nothing: it asks a lookup for the answer that was
// made when an input last changed, and says it in the form that the caller can act
// on. It guarantees that a caller without a known credential learns nothing; that a
// credential is good for its dialect and its applications only; that nothing a
// client sends chooses either; that every identity header is set whenever a request
// may pass; and that every error, panic and delay on the way is a refusal.
//
// It does not guarantee that the gateway does as it is told.
package gateway
