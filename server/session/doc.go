// Package session says what a sign-in session is worth: whether it is over, how
// fresh its hands are, what its passkey showed, and what its link to a laptop is
// worth now.
//
// It is pure rules over values: it keeps nothing, reads no clock, and knows no
// cookie. A session that it cannot tell to be live is over; a link that it cannot
// tell to be live counts as absent or suspended, never as live.
package session
