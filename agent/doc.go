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
//   - Profile byod is enforced here, whatever a server asks for.
//   - Secrets are in private files only: never in arguments, environment, logs
//     or output.
//   - There is no silent way down: a TPM that cannot be used is told with its
//     remedy, and only the setting tpm: none makes a software key.
//
// It does not look at the machine itself (collectors do), does not hold keys
// (attest/tpm and attest/softkey do), and decides nothing: the server does. It
// protects nothing from an administrator of the laptop.
//
// Replies are read leniently: members that this version does not know are
// ignored, so that a server may learn before its agents do. What an agent sends
// is strict.
package agent
