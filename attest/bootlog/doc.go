// Package bootlog reads what firmware, boot loaders and early systems wrote about
// a start: a TCG event log. Bytes in, bounded facts out; it is pure and has no
// dependencies.
//
// It understands the crypto-agile and the SHA-1 format of the TCG PC Client
// Platform Firmware Profile 1.06 §10, the events of UEFI firmware, shim, GRUB and
// systemd, and the SIPA events of Windows (WBCL).
//
// It guarantees:
//   - No panic, no recursion, and no allocation beyond ten times the input (and,
//     for short ones, the size of an account and of 64 certificates), whatever the
//     bytes are. What is odd in one event's body spoils only what that event says.
//   - A fact is [Fact.Known] only when the events before it in its PCR replay to
//     the given value of that PCR, and its bytes hash to the digest that was
//     extended. An event's type, and whatever was not extended (EV_NO_ACTION), is
//     believed in nothing but what the replay itself confirms.
//   - What firmware says is taken from before the separator of a PCR, where the
//     first statement counts; after it any program may have extended more, and only
//     what holds for all events is said.
//
// An opaque event, whose body does not hash to its digest, may hide anything: what it
// could have said is unknown for the reason [Unbound], never for [NotLogged].
//
// It does not judge: whether keys, authorities and levels are good is for
// server/verify and its reference values. Nor does it prove that the values are
// those of a TPM: that is the quote's.
package bootlog
