// Package snippets has what operators paste into their gateways, and writes it for
// one application: nginx, Caddy, HAProxy, Traefik and Envoy.
//
// README.md says what each protects against. The package guarantees that a rendered
// snippet holds no secret, and that no value can end a line or a quote of it. It
// does not know whether a gateway loads it; the live tests of package gateway do.
package snippets
