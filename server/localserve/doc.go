// Package localserve is the whole product on one machine in one command: a
// server with a throw-away database, this machine enrolled by a real agent
// process, its posture as it arrives, the decision for a sample application, and
// the pages where a person registers a passkey and links this machine.
//
// It guarantees that it listens on loopback only, leaves nothing behind, and
// says which kind of key the machine got. It starts two programs and no others:
// muster-agent, found beside the server's program or built by the go tool.
//
// It is for trying and for tests. What differs from a real roll-out is said
// where it happens: plain HTTP, which browsers take for safe with names below
// .localhost, and a software key where there is no usable TPM.
package localserve
