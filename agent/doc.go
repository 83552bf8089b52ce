// Package agent is what runs on the laptop: it enrols, looks at the claims,
// signs them as reports, sends them, and obeys what the server answers.
//
// It guarantees:
//
//   - A request that changes something at the server is written to a private
//     file before it is sent, and repeated with identical bytes until it is
//     answered: a lost reply or a kill at any point loses nothing and sends
//     nothing twice in two forms.
//   - A change of a claim is reported within seconds while the server answers;
//     otherwise the agent backs off with jitter and goes on looking.
//   - A report that somebody waits for is sent within seconds, without an open port
//     here: a request is left open at the server. How often that happens is bounded
//     here, whatever a server asks for.
//   - Profile byod is enforced here, whatever a server asks for.
//   - Secrets are in private files only: never in arguments, environment, logs
//     or output.
//   - A browser session is linked to this laptop only for the account that sits at
//     it (or that the setting link_user names), as the operating system tells: at
//     the loopback listener, which is off unless link_port is set and answers
//     pages of the enrolled server alone, and at the door, a unix socket for the
//     person's own commands. Where the system does not tell, the answer is no.
//     Nothing about the laptop is ever answered to a page.
//   - There is no silent way down: a TPM that cannot be used is told with its
//     remedy. The setting tpm: none makes a software key; and under tpm: auto a
//     laptop whose TPM stays gone goes on reporting with one, as another device
//     that waits for an approval, until the TPM is back.
//   - After each start, and when PCR 7 moves, this boot's key is made anew, certified
//     and quoted beside the next report; a server that does not take it gets quotes.
//
// It does not look at the machine itself (collectors do), does not hold keys
// (attest/tpm and attest/softkey do), and decides nothing: the server does. It
// protects nothing from an administrator of the laptop, nor the person's links
// from their own programs: whoever forwards the loopback port on purpose links
// another machine's browser. Known programs for that are refused where they are
// seen, and the server compares addresses.
//
// Linux has all of it. macOS tells who is at the door but not who connects to the
// loopback listener (peer-unknown), and needs link_user for both, since it does
// not tell who sits there; Windows tells who connects to the listener, which was
// compiled and not tried, and not who is at the door. That a screen was locked is
// told to the server on Linux alone, where the desktop tells logind; elsewhere
// links end by their age.
//
// Replies are read leniently: members that this version does not know are
// ignored, so that a server may learn before its agents do. What an agent sends
// is strict.
package agent
