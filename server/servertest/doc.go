// Package servertest runs muster for tests as people run it: a real server on
// loopback, real muster-agent processes with a state folder and settings of
// their own, and gateways that ask over HTTP.
//
// [Start] runs a server in the test's process, [Launch] the built program, which
// can be killed. [Server.Laptop] is one machine with an agent; what a test wants
// to see of it, it waits for with [Wait], never with a sleep. [Wire] stands
// between the two and loses or repeats messages. [Device] speaks the protocol
// with a software key and without an agent: fast, and able to misbehave.
//
// Everything ends with the test; programs that are left over are killed by their
// own process id. A package that uses it has a TestMain that calls [Main]. It is
// imported by tests only.
package servertest
