// Package gateway serves decisions to those who enforce them: here to programs,
// by AuthZEN 1.0; the forward-auth dialects, ext_authz and tokens join it.
//
// It decides nothing and keeps nothing: it asks a lookup for the answer that was
// made when an input last changed. It guarantees that a caller without a known
// credential learns nothing, that a credential sees only its applications, and
// that every error on the way is a decision of false or a refusal, never an
// allow.
package gateway
