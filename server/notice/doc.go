// Package notice delivers what waits in the store's outbox: mail to persons and
// administrators by SMTP, and signed webhooks to programs.
//
// It guarantees that a notice is forgotten only after its receiver took it, or
// after three days of trying, which is audited; that notices to one receiver
// arrive in the order in which they were written; that a slow or dead receiver
// holds up nobody else's; that mail and webhooks leave the machine under TLS
// only; and that neither password nor webhook secret, nor the webhook's URL,
// stands in a log or a stored error.
//
// A notice may arrive twice, when the answer to the first was lost: its
// Message-ID or webhook-id is the same then. Mail proves nothing to its reader:
// it says what happened and where to sign in; no secret is ever in it.
package notice
