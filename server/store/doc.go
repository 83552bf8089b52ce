// Package store keeps what the server must not forget: devices and their
// anchors and what proved them, where each device's statements stand, reports, boot
// logs, the ways in which it started and who approved them, tokens, policies,
// persons with their passkeys and sessions, privileged access for minutes, rules
// that are let pass, one-time offers, keys that sign for gateways, notices to send,
// and an audit log. It is one SQLite file with a revocation journal beside it.
//
// It guarantees:
//
//   - What [Store.Update] returned nil for survives a crash of the process, of
//     the system, and loss of power, as far as the disk keeps what it said it
//     had synced. Many updates share one fsync; none is answered before it.
//   - One update's error or panic undoes that update alone. When the commit
//     itself fails, or SQLite loses the transaction, every update of the group is
//     told so; none is refused for what another one wrote and lost.
//   - Revoked stays revoked: no update, restored backup or database file copied
//     back by hand brings a revoked device or key, or a removed gateway, back
//     while the journal is there (TPM.md §2); a backup without one is refused. A
//     revoked device ends under every name that it ever had.
//   - Removed stays removed, and ended stays ended: a removed passkey's id can
//     never be added again, by anyone; a disabled person has no session and gets
//     none; an ended session, offer, API token, elevation or bypass has no way
//     back, also for SQL that goes past the methods. Removals and the last word on
//     each person (disabled or enabled) are journalled as revocations are.
//   - A way to start that was refused stays so until somebody decides later, also in
//     a restored backup; an approval may be lost with it, and is asked for again.
//     Nothing that a device can do takes a decision away, save the oldest of sixteen.
//   - An elevation is granted once, to a live session, by another person than who
//     asked, and ends in the transaction that ends its session. What a disabled
//     person let pass, and what was let pass for them, has ended.
//   - A one-time thing is taken once, by whichever of its takers committed; a
//     secret of one kind is nothing to another.
//   - A person's name is given once: persons are disabled, not deleted. Those who
//     were added after a backup are forgotten when it is restored.
//   - What a device can make it keep is bounded: reports, boot logs, baselines, boot
//     values, and replies to enrolments with their evidence. Anchors and dead keys
//     stay for ever; callers limit how often a device gets new keys (see
//     [Tx.RecentAnchors]).
//   - A restored backup starts a new epoch, in which nonces, stored replies and
//     tokens of the old one are void and every device must resync. All sessions
//     with their visits read as ended with cause "restored", live offers, API
//     tokens, elevations and bypasses as ended; signing keys are forgotten; no device
//     counts for others before it reports again. Persons, passkeys, notices (which
//     may be sent again) and spent values stay; what was spent after the backup is
//     forgotten, so what is spent must be bound to the epoch by its owner. Content
//     of a pack older than its accepted number is not given out.
//   - Changes are told after they are durable, in order, and before the update
//     that made them returns.
//
// Rows of people are bounded each (see bound.go), in number only the outbox; how
// many offers, sessions and passkeys one person has at once is the callers' to
// limit, and [Tx.PurgePeople] is theirs to call.
//
// It does not notice that database and journal were both put back to an older
// state together (a machine's snapshot), it does not encrypt, and it judges
// nothing: callers decide what to store.
//
// The database holds public keys, hashes of secrets, and three kinds of secrets: the
// server key, the keys that sign tokens for gateways, and in the evidence of an
// enrolment the token that it was begun with, which may have uses left. Its thief
// can enrol with such a token, and can compute the MAC secrets of all devices, but
// can sign for none of those that are there. It learns who the people are and which
// laptops they use, but cannot sign in as any; whoever checks tokens offline
// believes the thief's until the keys are removed. Backups hold the same.
package store
