-- +goose Up
-- Times are Unix milliseconds, 0 for never. Digests are 32 bytes, NULL for none.
PRAGMA application_id = 1836413812; -- "must"

CREATE TABLE meta (
	id         INTEGER PRIMARY KEY CHECK (id = 1),
	tenant     TEXT    NOT NULL CHECK (length(tenant) = 32),
	server_key BLOB    NOT NULL CHECK (length(server_key) = 32),
	epoch      INTEGER NOT NULL,
	generation INTEGER NOT NULL, -- how often the database was opened
	origin     TEXT    NOT NULL DEFAULT '',
	backup_at  INTEGER NOT NULL DEFAULT 0 -- set in a finished backup alone
) STRICT;

CREATE TABLE devices (
	n              INTEGER PRIMARY KEY,
	id             TEXT    NOT NULL UNIQUE,
	state          TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'revoked')),
	level          TEXT    NOT NULL,
	class          TEXT    NOT NULL,
	grp            TEXT    NOT NULL,
	owner          TEXT    NOT NULL,
	name           TEXT    NOT NULL,
	platform       TEXT    NOT NULL,
	kind           TEXT    NOT NULL,
	serial         TEXT    NOT NULL,
	uuid           TEXT    NOT NULL,
	ek_hash        BLOB    UNIQUE,
	ek_template    TEXT    NOT NULL,
	ek_public      BLOB,
	ek_certificate BLOB,
	ak             BLOB,
	ak_name        BLOB    UNIQUE,
	dk             BLOB    NOT NULL,
	dk_id          BLOB    NOT NULL UNIQUE,
	dkb            BLOB,
	dkb_counter    INTEGER NOT NULL, -- DKb is bound to the reset count too
	tpm            TEXT    NOT NULL, -- JSON
	token_id       TEXT    NOT NULL,
	cause          TEXT    NOT NULL,
	cause_text     TEXT    NOT NULL,
	created_at     INTEGER NOT NULL,
	approved_at    INTEGER NOT NULL,
	approved_by    TEXT    NOT NULL,
	revoked_at     INTEGER NOT NULL,
	revoked_by     TEXT    NOT NULL,
	revoked_why    TEXT    NOT NULL
) STRICT;

CREATE INDEX devices_state ON devices (state, id);

-- +goose StatementBegin
CREATE TRIGGER devices_revoked_for_ever BEFORE UPDATE OF state ON devices
WHEN OLD.state = 'revoked' AND NEW.state <> 'revoked'
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER devices_stay BEFORE DELETE ON devices
BEGIN
	SELECT RAISE(ABORT, 'devices are revoked, not deleted');
END;
-- +goose StatementEnd

-- Where a device's statements stand; written with every report.
CREATE TABLE hot (
	n     INTEGER PRIMARY KEY REFERENCES devices (n),
	rev   INTEGER NOT NULL, -- grows with every write of this row or its device
	state BLOB    NOT NULL, -- packed, see hot.go
	reply BLOB
) STRICT;

-- Every identity that a device ever had; the last one is what its row says.
CREATE TABLE anchors (
	id         INTEGER PRIMARY KEY,
	n          INTEGER NOT NULL REFERENCES devices (n),
	ek_hash    BLOB,
	ak_name    BLOB,
	dk_id      BLOB    NOT NULL,
	level      TEXT    NOT NULL,
	from_at    INTEGER NOT NULL,
	until_at   INTEGER NOT NULL,
	cause      TEXT    NOT NULL
) STRICT;

CREATE INDEX anchors_device ON anchors (n, id);
CREATE INDEX anchors_ek ON anchors (ek_hash) WHERE ek_hash IS NOT NULL;
CREATE INDEX anchors_ak ON anchors (ak_name) WHERE ak_name IS NOT NULL;
CREATE INDEX anchors_dk ON anchors (dk_id);

CREATE TABLE dead_keys (
	kind    TEXT    NOT NULL CHECK (kind IN ('ek', 'ak', 'dk', 'gateway')),
	value   BLOB    NOT NULL,
	subject TEXT    NOT NULL, -- whose it was: id of a device or gateway
	at      INTEGER NOT NULL,
	cause   TEXT    NOT NULL,
	PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER dead_keys_no_update BEFORE UPDATE ON dead_keys
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER dead_keys_no_delete BEFORE DELETE ON dead_keys
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
-- +goose StatementEnd

CREATE TABLE reports (
	id          INTEGER PRIMARY KEY,
	n           INTEGER NOT NULL REFERENCES devices (n),
	seq         INTEGER NOT NULL,
	digest      BLOB    NOT NULL,
	received_at INTEGER NOT NULL,
	jws         BLOB    NOT NULL,
	quote       BLOB,
	result      BLOB    NOT NULL
) STRICT;

CREATE INDEX reports_device ON reports (n, id);

CREATE TABLE boot_logs (
	digest     BLOB    PRIMARY KEY,
	first_seen INTEGER NOT NULL,
	size       INTEGER NOT NULL,
	packed     BLOB    NOT NULL -- gzip
) STRICT;

-- The last few boot logs of each device; a log that none has goes.
CREATE TABLE device_logs (
	id     INTEGER PRIMARY KEY, -- the newest has the highest
	n      INTEGER NOT NULL REFERENCES devices (n),
	digest BLOB    NOT NULL REFERENCES boot_logs (digest),
	UNIQUE (n, digest)
) STRICT;

CREATE INDEX device_logs_digest ON device_logs (digest);

CREATE TABLE tokens (
	id         TEXT    PRIMARY KEY,
	hash       BLOB    NOT NULL UNIQUE,
	label      TEXT    NOT NULL,
	class      TEXT    NOT NULL,
	grp        TEXT    NOT NULL,
	owner      TEXT    NOT NULL,
	min_level  TEXT    NOT NULL,
	uses_left  INTEGER NOT NULL CHECK (uses_left >= 0),
	expires_at INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	created_by TEXT    NOT NULL
) STRICT;

-- What admits a device by itself, got out of band.
CREATE TABLE listed (
	id          TEXT    PRIMARY KEY,
	ek_hash     BLOB    UNIQUE,
	issuer      TEXT    NOT NULL,
	cert_serial TEXT    NOT NULL,
	label       TEXT    NOT NULL,
	serial      TEXT    NOT NULL,
	class       TEXT    NOT NULL,
	grp         TEXT    NOT NULL,
	owner       TEXT    NOT NULL,
	added_at    INTEGER NOT NULL,
	added_by    TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX listed_certificate ON listed (issuer, cert_serial) WHERE ek_hash IS NULL;
CREATE INDEX listed_serial ON listed (serial) WHERE serial <> '';

CREATE TABLE enrolments (
	id         INTEGER PRIMARY KEY, -- the newest has the highest
	digest     BLOB    NOT NULL UNIQUE,
	device     TEXT    NOT NULL,
	reply      BLOB    NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX enrolments_expiry ON enrolments (expires_at);
CREATE INDEX enrolments_device ON enrolments (device, id);

CREATE TABLE gateways (
	id         TEXT    PRIMARY KEY,
	name       TEXT    NOT NULL,
	hash       BLOB    NOT NULL UNIQUE,
	apps       TEXT    NOT NULL, -- JSON
	created_at INTEGER NOT NULL,
	created_by TEXT    NOT NULL
) STRICT;

CREATE TABLE grace (
	n    INTEGER PRIMARY KEY REFERENCES devices (n),
	book BLOB    NOT NULL
) STRICT;

CREATE TABLE policies (
	id        INTEGER PRIMARY KEY,
	digest    BLOB    NOT NULL UNIQUE,
	yaml      BLOB    NOT NULL,
	loaded_at INTEGER NOT NULL,
	loaded_by TEXT    NOT NULL,
	active    INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX policies_one_active ON policies (active) WHERE active = 1;

CREATE TABLE packs (
	name   TEXT    PRIMARY KEY,
	number INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
	seq     INTEGER PRIMARY KEY,
	at      INTEGER NOT NULL,
	actor   TEXT    NOT NULL,
	action  TEXT    NOT NULL,
	subject TEXT    NOT NULL,
	detail  BLOB    NOT NULL,
	prev    BLOB    NOT NULL,
	hash    BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_subject ON audit (subject, seq);

-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd
