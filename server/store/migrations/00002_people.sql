-- +goose Up
-- Who signs in, with what, and what was issued to them. Times, digests: as in 00001.
-- rp_id is the WebAuthn RP ID, once it is fixed.
ALTER TABLE meta ADD COLUMN rp_id TEXT NOT NULL DEFAULT '';

CREATE TABLE persons (
	id           TEXT    PRIMARY KEY,
	name         TEXT    NOT NULL UNIQUE,
	handle       BLOB    NOT NULL UNIQUE CHECK (length(handle) = 32),
	role         TEXT    NOT NULL CHECK (role IN ('person', 'help_desk', 'auditor', 'administrator')),
	profile      TEXT    NOT NULL, -- JSON: display name, mail, groups, approvers
	created_at   INTEGER NOT NULL,
	created_by   TEXT    NOT NULL,
	disabled     INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
	disabled_at  INTEGER NOT NULL DEFAULT 0,
	disabled_why TEXT    NOT NULL DEFAULT '',
	words        INTEGER NOT NULL DEFAULT 0 -- how often disabled or enabled; the journal counts with it
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER persons_stay BEFORE DELETE ON persons
BEGIN
	SELECT RAISE(ABORT, 'persons are disabled, not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER persons_stay_who_they_are BEFORE UPDATE OF id, name, handle ON persons
BEGIN
	SELECT RAISE(ABORT, 'a name is given once');
END;
-- +goose StatementEnd

CREATE TABLE passkeys (
	n               INTEGER PRIMARY KEY, -- the newest has the highest
	id              BLOB    NOT NULL UNIQUE,
	person          TEXT    NOT NULL REFERENCES persons (id),
	public_key      BLOB    NOT NULL,
	algorithm       INTEGER NOT NULL,
	aaguid          BLOB    NOT NULL CHECK (length(aaguid) = 16),
	attestation     BLOB    NOT NULL,
	client_data     BLOB    NOT NULL,
	transports      TEXT    NOT NULL, -- JSON
	attachment      TEXT    NOT NULL,
	backup_eligible INTEGER NOT NULL,
	user_verified   INTEGER NOT NULL,
	created_at      INTEGER NOT NULL,
	created_in      TEXT    NOT NULL
) STRICT;

CREATE INDEX passkeys_person ON passkeys (person, n);

-- What changes of a passkey, apart from its long registration.
CREATE TABLE passkey_states (
	n         INTEGER PRIMARY KEY REFERENCES passkeys (n) ON DELETE CASCADE,
	name      TEXT    NOT NULL,
	use       TEXT    NOT NULL, -- JSON
	judgement TEXT    NOT NULL  -- JSON
) STRICT;

-- Credential ids that were removed. The person may be one whom a restored
-- backup does not know.
CREATE TABLE dead_passkeys (
	id     BLOB    PRIMARY KEY,
	person TEXT    NOT NULL,
	at     INTEGER NOT NULL,
	cause  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER dead_passkeys_no_update BEFORE UPDATE ON dead_passkeys
BEGIN
	SELECT RAISE(ABORT, 'removed is for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER dead_passkeys_no_delete BEFORE DELETE ON dead_passkeys
BEGIN
	SELECT RAISE(ABORT, 'removed is for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER passkeys_removed_for_ever BEFORE INSERT ON passkeys
WHEN EXISTS (SELECT 1 FROM dead_passkeys WHERE id = NEW.id)
BEGIN
	SELECT RAISE(ABORT, 'removed is for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER passkeys_stay_whose_they_are BEFORE UPDATE ON passkeys
BEGIN
	SELECT RAISE(ABORT, 'a registration does not change');
END;
-- +goose StatementEnd

CREATE TABLE sessions (
	n          INTEGER PRIMARY KEY, -- the newest has the highest
	id         TEXT    NOT NULL UNIQUE,
	hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
	old_hash   BLOB    CHECK (length(old_hash) = 32), -- of the cookie before this one
	old_until  INTEGER NOT NULL DEFAULT 0, -- till when that one is good, too
	person     TEXT    NOT NULL REFERENCES persons (id),
	credential BLOB    NOT NULL, -- may be removed since
	epoch      INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	over_at    INTEGER NOT NULL, -- its absolute limit
	ended_at   INTEGER NOT NULL DEFAULT 0,
	cause      TEXT    NOT NULL DEFAULT '',
	detail     TEXT    NOT NULL, -- JSON: what is fixed at sign-in
	CHECK ((ended_at = 0) = (cause = ''))
) STRICT;

CREATE UNIQUE INDEX sessions_old ON sessions (old_hash) WHERE old_hash IS NOT NULL;
CREATE INDEX sessions_person ON sessions (person, ended_at);
CREATE INDEX sessions_credential ON sessions (credential) WHERE ended_at = 0;
CREATE INDEX sessions_ended ON sessions (ended_at, over_at);

-- +goose StatementBegin
CREATE TRIGGER sessions_ended_for_ever BEFORE UPDATE ON sessions
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended session is over for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_stay_whose_they_are
BEFORE UPDATE OF n, id, person, credential, epoch, created_at, over_at, detail ON sessions
BEGIN
	SELECT RAISE(ABORT, 'whose session it is does not change');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_end_first BEFORE DELETE ON sessions
WHEN OLD.ended_at = 0
BEGIN
	SELECT RAISE(ABORT, 'sessions are ended, not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_of_the_disabled BEFORE INSERT ON sessions
WHEN NEW.ended_at = 0 AND (SELECT disabled FROM persons WHERE id = NEW.person) = 1
BEGIN
	SELECT RAISE(ABORT, 'a disabled person has no session');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER persons_disabled_without_sessions BEFORE UPDATE OF disabled ON persons
WHEN NEW.disabled = 1 AND EXISTS (SELECT 1 FROM sessions WHERE person = NEW.id AND ended_at = 0)
BEGIN
	SELECT RAISE(ABORT, 'a disabled person has no session');
END;
-- +goose StatementEnd

-- What changes of a session: a small row, written about once a minute.
CREATE TABLE session_hot (
	n           INTEGER PRIMARY KEY REFERENCES sessions (n) ON DELETE CASCADE,
	verified_at INTEGER NOT NULL,
	seen_at     INTEGER NOT NULL,
	link        TEXT    -- JSON; NULL for none
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER session_hot_ended_for_ever BEFORE UPDATE ON session_hot
WHEN (SELECT ended_at FROM sessions WHERE n = OLD.n) <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended session is over for ever');
END;
-- +goose StatementEnd

-- A session's cookies at applications' hosts. They live as long as it does, and
-- are kept as long as it is, so that they can say why it ended.
CREATE TABLE visits (
	hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32),
	session    INTEGER NOT NULL REFERENCES sessions (n) ON DELETE CASCADE,
	host       TEXT    NOT NULL,
	app        TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	UNIQUE (session, host)
) STRICT, WITHOUT ROWID;

CREATE TABLE offers (
	n          INTEGER PRIMARY KEY, -- the newest has the highest
	id         TEXT    NOT NULL UNIQUE,
	hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
	kind       TEXT    NOT NULL,
	person     TEXT    REFERENCES persons (id),
	session    TEXT    REFERENCES sessions (id) ON DELETE CASCADE,
	data       BLOB    NOT NULL, -- JSON of its owner's
	epoch      INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	created_by TEXT    NOT NULL,
	expires_at INTEGER NOT NULL,
	taken_at   INTEGER NOT NULL DEFAULT 0,
	ended_at   INTEGER NOT NULL DEFAULT 0,
	CHECK (taken_at = 0 OR ended_at = 0)
) STRICT;

CREATE INDEX offers_kind ON offers (kind, n) WHERE taken_at = 0 AND ended_at = 0;
CREATE INDEX offers_person ON offers (person);
CREATE INDEX offers_session ON offers (session);
CREATE INDEX offers_creator ON offers (created_by) WHERE taken_at = 0 AND ended_at = 0;
CREATE INDEX offers_expiry ON offers (expires_at);

-- +goose StatementBegin
CREATE TRIGGER offers_used_once BEFORE UPDATE ON offers
WHEN OLD.taken_at <> 0 OR OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an offer is taken once');
END;
-- +goose StatementEnd

-- Values that were used, until they would be refused by themselves.
CREATE TABLE spent (
	value      BLOB    PRIMARY KEY CHECK (length(value) = 32),
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_expiry ON spent (expires_at);

CREATE TABLE api_tokens (
	id         TEXT    PRIMARY KEY,
	hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
	label      TEXT    NOT NULL,
	scopes     TEXT    NOT NULL, -- JSON
	epoch      INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	created_by TEXT    NOT NULL,
	expires_at INTEGER NOT NULL,
	used_at    INTEGER NOT NULL DEFAULT 0,
	ended_at   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER api_tokens_ended_for_ever BEFORE UPDATE ON api_tokens
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended token is over for ever');
END;
-- +goose StatementEnd

CREATE TABLE notices (
	id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again
	channel    TEXT    NOT NULL CHECK (channel IN ('mail', 'webhook')),
	recipient  TEXT    NOT NULL,
	kind       TEXT    NOT NULL,
	body       BLOB    NOT NULL, -- JSON
	created_at INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	next_at    INTEGER NOT NULL,
	error      TEXT    NOT NULL
) STRICT;

CREATE INDEX notices_channel ON notices (channel, id);
CREATE INDEX notices_due ON notices (next_at);

CREATE TABLE contents (
	pack   TEXT    PRIMARY KEY,
	number INTEGER NOT NULL, -- of the pack when it was put
	size   INTEGER NOT NULL,
	packed BLOB    NOT NULL -- gzip
) STRICT;
