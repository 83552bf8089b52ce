// Package store keeps what the server must not forget: devices and their
// anchors, where each device's statements stand, reports, boot logs, tokens,
// policies, and an audit log. It is one SQLite file with a revocation journal
// beside it.
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
//   - What a device can make it keep is bounded: reports, boot logs and replies to
//     enrolments. Anchors and dead keys stay for ever; callers limit how often a
//     device gets new keys (see [Tx.RecentAnchors]).
//   - A restored backup starts a new epoch, in which nonces, stored replies and
//     tokens of the old one are void and every device must resync.
//   - Changes are told after they are durable, in order, and before the update
//     that made them returns.
//
// It does not notice that database and journal were both put back to an older
// state together (a machine's snapshot), it does not encrypt, and it judges
// nothing: callers decide what to store.
//
// The database holds public keys, hashes of secrets, and one secret: the server
// key. Its thief can compute the MAC secrets of all devices, but can sign for
// none.
package store
