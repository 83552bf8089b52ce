-- +goose Up
-- What decisions at gateways rest on: privileged access for minutes, rules that are
-- let pass, and how a gateway asks. Times, digests: as in 00001.
ALTER TABLE gateways ADD COLUMN dialect TEXT NOT NULL DEFAULT 'authzen' CHECK (dialect <> '');
ALTER TABLE gateways ADD COLUMN restricts INTEGER NOT NULL DEFAULT 0 CHECK (restricts IN (0, 1));
ALTER TABLE gateways ADD COLUMN audience TEXT NOT NULL DEFAULT '';
ALTER TABLE gateways ADD COLUMN certificate TEXT NOT NULL DEFAULT ''
	CHECK (certificate = '' OR length(certificate) = 64);
ALTER TABLE gateways ADD COLUMN socket TEXT NOT NULL DEFAULT '';

CREATE UNIQUE INDEX gateways_certificate ON gateways (certificate) WHERE certificate <> '';
CREATE UNIQUE INDEX gateways_socket ON gateways (socket) WHERE socket <> '';

-- They are void with their session, so they have no epoch of their own.
CREATE TABLE elevations (
	n           INTEGER PRIMARY KEY, -- the newest has the highest
	id          TEXT    NOT NULL UNIQUE,
	session     TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	person      TEXT    NOT NULL REFERENCES persons (id),
	app         TEXT    NOT NULL CHECK (app <> ''),
	why         TEXT    NOT NULL,
	approval    TEXT    NOT NULL, -- group of the approver; '' for none
	lasts       INTEGER NOT NULL CHECK (lasts > 0), -- milliseconds
	asked_at    INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	granted_at  INTEGER NOT NULL DEFAULT 0,
	ends_at     INTEGER NOT NULL DEFAULT 0,
	approved_by TEXT    REFERENCES persons (id),
	ended_at    INTEGER NOT NULL DEFAULT 0,
	cause       TEXT    NOT NULL DEFAULT '',
	CHECK ((ended_at = 0) = (cause = '')),
	CHECK ((granted_at = 0) = (ends_at = 0)),
	CHECK (approved_by IS NULL OR granted_at <> 0 AND approved_by <> person),
	CHECK (approval = '' OR granted_at = 0 OR approved_by IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX elevations_live ON elevations (session, app) WHERE ended_at = 0;
CREATE INDEX elevations_asked ON elevations (session, asked_at);
CREATE INDEX elevations_ended ON elevations (ended_at);

-- +goose StatementBegin
CREATE TRIGGER elevations_ended_for_ever BEFORE UPDATE ON elevations
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended elevation is over for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER elevations_granted_once BEFORE UPDATE OF granted_at, ends_at, approved_by ON elevations
WHEN OLD.granted_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an elevation is granted once');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER elevations_stay_what_was_asked
BEFORE UPDATE OF n, id, session, person, app, why, approval, lasts, asked_at, expires_at ON elevations
BEGIN
	SELECT RAISE(ABORT, 'what was asked for does not change');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER elevations_end_first BEFORE DELETE ON elevations
WHEN OLD.ended_at = 0
BEGIN
	SELECT RAISE(ABORT, 'elevations are ended, not deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER elevations_begin_asked BEFORE INSERT ON elevations
WHEN NEW.ended_at <> 0 OR NEW.granted_at <> 0
	OR NOT EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session AND person = NEW.person AND ended_at = 0)
BEGIN
	SELECT RAISE(ABORT, 'an elevation is asked for by a live session of its person');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_end_without_elevations BEFORE UPDATE OF ended_at ON sessions
WHEN NEW.ended_at <> 0 AND EXISTS (SELECT 1 FROM elevations WHERE session = NEW.id AND ended_at = 0)
BEGIN
	SELECT RAISE(ABORT, 'an ended session has no elevation');
END;
-- +goose StatementEnd

CREATE TABLE bypasses (
	n          INTEGER PRIMARY KEY, -- the newest has the highest
	id         TEXT    NOT NULL UNIQUE,
	device     TEXT    REFERENCES devices (id),
	person     TEXT    REFERENCES persons (id),
	rule       TEXT    NOT NULL CHECK (rule <> ''),
	why        TEXT    NOT NULL,
	epoch      INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	created_by TEXT    NOT NULL CHECK (created_by <> ''),
	expires_at INTEGER NOT NULL,
	ended_at   INTEGER NOT NULL DEFAULT 0,
	CHECK ((device IS NULL) <> (person IS NULL))
) STRICT;

CREATE INDEX bypasses_device ON bypasses (device) WHERE ended_at = 0;
CREATE INDEX bypasses_person ON bypasses (person) WHERE ended_at = 0;
CREATE INDEX bypasses_creator ON bypasses (created_by) WHERE ended_at = 0;

-- +goose StatementBegin
CREATE TRIGGER bypasses_ended_for_ever BEFORE UPDATE ON bypasses
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended bypass is over for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bypasses_stay_what_they_are
BEFORE UPDATE OF n, id, device, person, rule, why, epoch, created_at, created_by, expires_at ON bypasses
BEGIN
	SELECT RAISE(ABORT, 'what a bypass lets pass does not change');
END;
-- +goose StatementEnd

-- Private keys that sign tokens for gateways.
CREATE TABLE signing_keys (
	n          INTEGER PRIMARY KEY, -- the newest has the highest
	id         TEXT    NOT NULL UNIQUE,
	private    BLOB    NOT NULL, -- PKCS #8
	epoch      INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER signing_keys_stay BEFORE UPDATE ON signing_keys
BEGIN
	SELECT RAISE(ABORT, 'a signing key does not change');
END;
-- +goose StatementEnd
