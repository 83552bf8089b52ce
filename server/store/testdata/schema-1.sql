-- A database of schema 1 with a few rows; test data, its keys are no keys.
PRAGMA application_id = 1836413812;
PRAGMA foreign_keys = OFF;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
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
CREATE TRIGGER devices_revoked_for_ever BEFORE UPDATE OF state ON devices
WHEN OLD.state = 'revoked' AND NEW.state <> 'revoked'
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
CREATE TRIGGER devices_stay BEFORE DELETE ON devices
BEGIN
	SELECT RAISE(ABORT, 'devices are revoked, not deleted');
END;
CREATE TABLE hot (
	n     INTEGER PRIMARY KEY REFERENCES devices (n),
	rev   INTEGER NOT NULL, -- grows with every write of this row or its device
	state BLOB    NOT NULL, -- packed, see hot.go
	reply BLOB
) STRICT;
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
CREATE TRIGGER dead_keys_no_update BEFORE UPDATE ON dead_keys
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
CREATE TRIGGER dead_keys_no_delete BEFORE DELETE ON dead_keys
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
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
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
INSERT INTO devices VALUES (1, 'old', 'active', 'tpm-hw', 'corporate', 'engineering', 'sam', 'host-old', 'linux', 'tpm', 'SN1', 'U1', X'E846919893B9465A02A8C15F42E30BB12FE573DABB71799B2B6D1F61C404CE58', 'L-1', X'656B207075626C6963', X'6365727469666963617465', X'616B', X'616B206E616D65206F66206F6C64', X'646B', X'30A7711821C3313987F21AAF7FF50C5F2B74C985F2C36B8728B6FEEDBCD4828B', X'646B62', 1, '{"manufacturer":"INTC","firmware":"1.2"}', '', '', '', 1772366400000, 0, '', 0, '', '');
INSERT INTO hot VALUES (1, 2, X'010103293547CB112AC4489AF2310C0626CDBA6F3097A2AD5A3B42DDD3B59C76C7A079A3000000000000', NULL);
INSERT INTO anchors VALUES (1, 1, X'E846919893B9465A02A8C15F42E30BB12FE573DABB71799B2B6D1F61C404CE58', X'616B206E616D65206F66206F6C64', X'30A7711821C3313987F21AAF7FF50C5F2B74C985F2C36B8728B6FEEDBCD4828B', 'tpm-hw', 1772366400000, 0, '');
INSERT INTO reports VALUES (1, 1, 41, X'0000000000000000000000000000000000000000000000000000000000000000', 0, X'6A7773', NULL, X'7B7D');
INSERT INTO audit VALUES (1, 1772366400000, 'administrator:sam', 'device.approve', '1', X'7B226E223A317D', X'0000000000000000000000000000000000000000000000000000000000000000', X'F9BCCF8588A4E6DC321F10D907F8C1611073CDB8CF0ED15DCAF080834ECF7DB0');
INSERT INTO audit VALUES (2, 1772366400000, 'administrator:sam', 'device.approve', '2', X'7B226E223A317D', X'F9BCCF8588A4E6DC321F10D907F8C1611073CDB8CF0ED15DCAF080834ECF7DB0', X'54E7AE4092FC04B12A945AD07223E12009F47F809CA057C3F291971ED6486786');
INSERT INTO meta VALUES (1, '0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 3, 7, 'https://old.example', 0);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1);
