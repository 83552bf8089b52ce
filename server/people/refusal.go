package people

import (
	"errors"

	"muster/server/store"
)

// Refusal is a no that a person is to understand. It is the same in page, log
// and API.
type Refusal struct {
	Status int    // HTTP status
	Code   string // stable
	Text   string // what happened, one sentence
	Fix    string // what to do, one sentence
}

// Error returns the code.
func (r *Refusal) Error() string { return r.Code }

func refuse(status int, code, text, fix string) *Refusal {
	return &Refusal{status, code, text, fix}
}

// errSignIn and errVerify are what pages turn into a sign-in or a step-up.
var (
	errSignIn = refuse(401, "sign-in", "You are not signed in, or your session has ended.", "Sign in with your passkey.")
	errVerify = refuse(403, "verify-first", "This needs a fresh confirmation with your passkey.", "Confirm with your passkey; then it goes on.")
	errRole   = refuse(403, "role", "Your role does not allow this.", "Ask an administrator.")
	errGone   = refuse(404, "not-found", "There is no such thing, or it is over.", "Go back and look again.")
	errUsed   = refuse(410, "used", "This was used before, has expired or was cancelled.", "Ask for a new one.")
	// errCeremony, errPasskey: the causes behind each are one to who asks.
	errCeremony           = refuse(400, "ceremony-ended", "This took longer than five minutes, or was begun in another window.", "Start again.")
	errPasskey            = refuse(403, "passkey-refused", "This passkey was not accepted.", "Try again, or use another passkey; if you have none, ask for recovery.")
	errModel              = refuse(403, "passkey-revoked", "The maker's metadata says that this kind of passkey is not safe any more.", "Use another passkey; if you have none, ask for recovery.")
	errWeaker             = refuse(403, "passkey-weaker", "This passkey is weaker than the one that you signed in with.", "Confirm with the passkey that you signed in with.")
	errKnownKey           = refuse(409, "passkey-known", "This passkey is registered already, or was removed before.", "Use another authenticator, or let yours make a new passkey.")
	errTooManyKeys        = refuse(409, "passkey-limit", "You have twenty passkeys, which is the most.", "Remove one that you do not use.")
	errLastKey            = refuse(409, "last-passkey", "This is your last passkey; without it you could not sign in.", "Add another one first.")
	errNewKeys            = refuse(409, "passkey-new", "Only passkeys younger than a day would be left.", "Keep this one until tomorrow: with it you can undo what somebody else added.")
	errLastAdministrator  = refuse(409, "last-administrator", "Nobody could administer without this person.", "Make somebody else an administrator who has a passkey.")
	errNameTaken          = refuse(409, "name-taken", "This name was given before, and names are never given again.", "Choose another name; who lost their passkeys needs recovery.")
	errOtherwise          = refuse(409, "person-exists", "There is a person of this name who is not as the invitation says.", "Invite them by name alone, or change them first.")
	errTooManyInvitations = refuse(409, "invitation-limit", "Ten thousand invitations wait already.", "Withdraw some that nobody needs.")
	errDays               = refuse(400, "days", "The number of days is out of range.", "An invitation lives 1 to 30 days, a token 1 to 366.")
	errWhy                = refuse(400, "why", "A reason in words is needed.", "Say why; it is kept in the audit log.")
	errProgram            = refuse(401, "program-unknown", "This token is unknown, has expired or was ended.", "Ask an administrator for another one.")
	errLabel              = refuse(400, "label", "A name has 1 to 64 printable characters.", "Choose another name.")
	errNoName             = refuse(503, "no-name", "Nobody can sign in here, because the server's public URL has no host name.", "Set public_url to a URL with a name, for example https://muster.example.")
)

// told turns what the store says, and callers branch on, into a refusal. Anything
// else means that the store could not tell, or could not keep.
func told(err error) error {
	var r *Refusal
	switch {
	case err == nil || errors.As(err, &r):
		return err
	case errors.Is(err, store.ErrTokenRefused):
		return errUsed
	case errors.Is(err, store.ErrNotFound):
		return errGone
	case errors.Is(err, store.ErrRevoked):
		return errSignIn // a session that ended meanwhile
	}
	return err
}
