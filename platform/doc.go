// Package platform is how our program lives on a machine: where its files are,
// how it keeps private ones private, which foreign programs it may run, what an
// administrator has fixed for it, and how it becomes a system service.
//
// It guarantees:
//
//   - Paths depend on the OS and on privilege alone. A privileged process takes
//     no location from its environment, which belongs to whoever started it.
//   - A private file is never seen half written and never read when another
//     user could have read or changed it; the refusal says how to mend it.
//   - A foreign program is found by absolute path only, gets no shell, no
//     standard input and a fixed environment, and is ended with all that it
//     started when its time or its output is up.
//   - Managed settings come from places that only an administrator can write.
//
// It does not know what the settings mean, what the commands answer, or that
// there is a server: the agent and the collectors do. It protects nothing from
// an administrator of the machine.
package platform
