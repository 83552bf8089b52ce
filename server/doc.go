// Package server is muster-server: one route table over thin handlers, which
// join enrolment, verification, policy and store.
//
// It joins what people sign in to (server/people, server/web) to the fleet, gives
// applications' hosts their cookies, and serves programs with scoped tokens.
//
// It guarantees that a 2xx to a device means stored; that a device is answered
// only after a MAC over the exact request was checked; that reports of one
// device are handled one after the other; and that an answer to a gateway is
// looked up, never older than the policy, the device's state and its lease
// allow. Any error on the way denies.
//
// The judging is elsewhere: attest.Open, server/verify, server/decide.
package server
