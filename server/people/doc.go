// Package people is who may sign in and what they did about it: persons and
// their passkeys, sessions, the laptops that their browsers are on, invitations,
// approvals and recovery, over the store.
//
// It guarantees that what adds power needs a user verification by an existing
// passkey at most five minutes ago, by the very person; that each one-time thing
// works once; that recovery is never weaker than the sign-in that it replaces;
// that a disabled person, removed passkey or ended session is refused by the
// next call; and that all of it is durable and audited before it is answered.
//
// Every check is made where its effect is: a call reads session, person and
// passkey anew in the transaction that writes, so that nothing that ended
// between two halves of a ceremony still counts. Between the halves nothing is
// stored; the browser keeps the ceremony, sealed for one purpose and subject.
//
// It speaks no HTTP (server/web does), decides no access to applications
// (server/decide does), and sends nothing: notices go to the store's outbox. How
// often somebody may try is its caller's to limit. README.md has what each thing
// that lies around is worth to a thief, and every code.
package people
