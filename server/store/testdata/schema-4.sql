-- A database of schema 4 with a few rows; test data, its keys are no keys.
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
, rp_id TEXT NOT NULL DEFAULT '') STRICT;
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
, predecessor TEXT REFERENCES devices (id) CHECK (predecessor <> id)) STRICT;
CREATE INDEX devices_state ON devices (state, id);
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
CREATE TABLE reports (
	id          INTEGER PRIMARY KEY,
	n           INTEGER NOT NULL REFERENCES devices (n),
	seq         INTEGER NOT NULL,
	digest      BLOB    NOT NULL,
	received_at INTEGER NOT NULL,
	jws         BLOB    NOT NULL,
	quote       BLOB,
	result      BLOB    NOT NULL
, dkb BLOB) STRICT;
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
, dialect TEXT NOT NULL DEFAULT 'authzen' CHECK (dialect <> ''), restricts INTEGER NOT NULL DEFAULT 0 CHECK (restricts IN (0, 1)), audience TEXT NOT NULL DEFAULT '', certificate TEXT NOT NULL DEFAULT ''
	CHECK (certificate = '' OR length(certificate) = 64), socket TEXT NOT NULL DEFAULT '') STRICT;
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
CREATE TABLE passkey_states (
	n         INTEGER PRIMARY KEY REFERENCES passkeys (n) ON DELETE CASCADE,
	name      TEXT    NOT NULL,
	use       TEXT    NOT NULL, -- JSON
	judgement TEXT    NOT NULL  -- JSON
) STRICT;
CREATE TABLE dead_passkeys (
	id     BLOB    PRIMARY KEY,
	person TEXT    NOT NULL,
	at     INTEGER NOT NULL,
	cause  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
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
CREATE TABLE session_hot (
	n           INTEGER PRIMARY KEY REFERENCES sessions (n) ON DELETE CASCADE,
	verified_at INTEGER NOT NULL,
	seen_at     INTEGER NOT NULL,
	link        TEXT    -- JSON; NULL for none
) STRICT;
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
CREATE UNIQUE INDEX gateways_certificate ON gateways (certificate) WHERE certificate <> '';
CREATE UNIQUE INDEX gateways_socket ON gateways (socket) WHERE socket <> '';
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
CREATE TABLE signing_keys (
	n          INTEGER PRIMARY KEY, -- the newest has the highest
	id         TEXT    NOT NULL UNIQUE,
	private    BLOB    NOT NULL, -- PKCS #8
	epoch      INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_predecessor ON devices (predecessor) WHERE predecessor IS NOT NULL;
CREATE TABLE baselines (
	id         INTEGER PRIMARY KEY,
	n          INTEGER NOT NULL REFERENCES devices (n),
	digest     BLOB    NOT NULL CHECK (length(digest) = 32), -- of the set
	boot       BLOB    NOT NULL, -- JSON: the set
	state      TEXT    NOT NULL CHECK (state IN ('new', 'approved', 'drifted', 'refused')),
	first_seen INTEGER NOT NULL,
	last_seen  INTEGER NOT NULL,
	decided_at INTEGER NOT NULL,
	decided_by TEXT    NOT NULL,
	why        TEXT    NOT NULL,
	UNIQUE (n, digest),
	CHECK ((state IN ('approved', 'refused')) = (decided_at <> 0))
) STRICT;
CREATE INDEX baselines_refused ON baselines (n) WHERE state = 'refused';
CREATE TABLE fleet (
	n              INTEGER PRIMARY KEY REFERENCES devices (n),
	model          TEXT    NOT NULL,
	counts         INTEGER NOT NULL CHECK (counts IN (0, 1)),
	approved_since INTEGER NOT NULL
) STRICT;
CREATE INDEX fleet_model ON fleet (model, n, approved_since) WHERE counts = 1;
CREATE INDEX devices_counting ON devices (n)
WHERE state = 'active' AND level = 'tpm-hw' AND class = 'corporate';
CREATE TABLE fleet_values (
	n         INTEGER NOT NULL REFERENCES fleet (n) ON DELETE CASCADE,
	component TEXT    NOT NULL CHECK (component <> ''),
	value     BLOB    NOT NULL CHECK (length(value) = 32),
	PRIMARY KEY (n, component, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE enrolment_evidence (
	id     INTEGER PRIMARY KEY, -- the newest has the highest
	n      INTEGER NOT NULL REFERENCES devices (n),
	dk_id  BLOB    NOT NULL CHECK (length(dk_id) = 32),
	at     INTEGER NOT NULL,
	packed BLOB    NOT NULL, -- gzip, see evidence.go
	UNIQUE (n, dk_id)
) STRICT;
INSERT INTO devices VALUES (1, 'old', 'active', 'tpm-hw', 'corporate', 'engineering', 'sam', 'host-old', 'linux', 'tpm', 'SN1', 'U1', X'E846919893B9465A02A8C15F42E30BB12FE573DABB71799B2B6D1F61C404CE58', 'L-1', X'656B207075626C6963', X'6365727469666963617465', X'616B', X'616B206E616D65206F66206F6C64', X'646B', X'30A7711821C3313987F21AAF7FF50C5F2B74C985F2C36B8728B6FEEDBCD4828B', X'646B62', 1, '{"manufacturer":"INTC","firmware":"1.2"}', '', '', '', 1772366400000, 0, '', 0, '', '', NULL);
INSERT INTO devices VALUES (2, 'then', 'pending', 'tpm-hw', 'corporate', 'engineering', 'sam', 'host-then', 'linux', 'tpm', 'SN1', 'U1', X'F39FE2BB51E62F0411E9772C709D6564A14493E198F3BEBFD188579F9438AAB6', 'L-1', X'656B207075626C6963', X'6365727469666963617465', X'616B', X'616B206E616D65206F66207468656E', X'646B', X'FD2B77A310B1F78620F7A8AF35D17EA905DAB786178A3C3D7B9EE21153B0B108', X'646B62', 1, '{"manufacturer":"INTC","firmware":"1.2"}', '', '', '', 1772366400000, 0, '', 0, '', '', 'old');
INSERT INTO hot VALUES (1, 2, X'010103293547CB112AC4489AF2310C0626CDBA6F3097A2AD5A3B42DDD3B59C76C7A079A3000000000000', NULL);
INSERT INTO hot VALUES (2, 1, X'01000300000000000000', NULL);
INSERT INTO anchors VALUES (1, 1, X'E846919893B9465A02A8C15F42E30BB12FE573DABB71799B2B6D1F61C404CE58', X'616B206E616D65206F66206F6C64', X'30A7711821C3313987F21AAF7FF50C5F2B74C985F2C36B8728B6FEEDBCD4828B', 'tpm-hw', 1772366400000, 0, '');
INSERT INTO anchors VALUES (2, 2, X'F39FE2BB51E62F0411E9772C709D6564A14493E198F3BEBFD188579F9438AAB6', X'616B206E616D65206F66207468656E', X'FD2B77A310B1F78620F7A8AF35D17EA905DAB786178A3C3D7B9EE21153B0B108', 'tpm-hw', 1772366400000, 0, '');
INSERT INTO reports VALUES (1, 1, 41, X'0000000000000000000000000000000000000000000000000000000000000000', 0, X'6A7773', NULL, X'7B7D', NULL);
INSERT INTO audit VALUES (1, 1772366400000, 'administrator:sam', 'device.approve', '1', X'7B226E223A317D', X'0000000000000000000000000000000000000000000000000000000000000000', X'F9BCCF8588A4E6DC321F10D907F8C1611073CDB8CF0ED15DCAF080834ECF7DB0');
INSERT INTO audit VALUES (2, 1772366400000, 'administrator:sam', 'device.approve', '2', X'7B226E223A317D', X'F9BCCF8588A4E6DC321F10D907F8C1611073CDB8CF0ED15DCAF080834ECF7DB0', X'54E7AE4092FC04B12A945AD07223E12009F47F809CA057C3F291971ED6486786');
INSERT INTO persons VALUES ('p_alice', 'alice', X'3ACDDEFEB86C6DA947F9993A5F326A65449689FADE917FC011987E07C5140584', 'person', '{"display":"Ms alice","mail":"alice@muster.example","groups":["engineering"],"approvers":["carol"],"role_since":"2026-03-01T12:00:00Z","role_by":"local administrator"}', 1772366400000, 'local administrator', 0, 0, '', 0);
INSERT INTO persons VALUES ('p_bob', 'bob', X'EAB9EA03750C580062B5188F334DC3A35892BA68DF1B83AE9818F097AAFD9294', 'person', '{"display":"Ms bob","mail":"bob@muster.example","groups":["engineering"],"approvers":["carol"],"role_since":"2026-03-01T12:00:00Z","role_by":"local administrator"}', 1772366400000, 'local administrator', 1, 1772366400000, 'left', 1);
INSERT INTO passkeys VALUES (1, X'6964206F6620616C696365206B6579', 'p_alice', X'6B6579', -7, X'01020300000000000000000000000000', X'6174746573746174696F6E', X'636C69656E742064617461', '["internal"]', 'platform', 1, 1, 1772366400000, 's_x');
INSERT INTO passkey_states VALUES (1, 'alice key', '{"backup_state":false,"sign_count":1,"user_verified":true,"at":"2026-03-01T12:00:00Z"}', '{"evidence":"self","why":"self-attestation","format":""}');
INSERT INTO dead_passkeys VALUES (X'6964206F6620626F62206B6579', 'p_bob', 1772366400000, 'lost');
INSERT INTO sessions VALUES (1, 's_js6gseqsyewl4urzk5pi6cvn4u', X'B4FDEC94F4235886AB751C5F96B8BABDD3D04550BB2D925CF39C8FB0A91C9C93', NULL, 0, 'p_alice', X'6964206F6620616C696365206B6579', 3, 1772366400000, 1772395200000, 0, '', '{"limits":{"idle":3600000000000,"absolute":28800000000000},"address":"192.0.2.1","browser":"browser","attachment":"platform","amr":["hwk","user"],"acr":"acr","binding":"none"}');
INSERT INTO sessions VALUES (2, 's_qzsicrqlama2d7umzatihqkvqm', X'9B2279954F4C347357824E0D434963E6A7603D175625AD39DEA51057D4919650', NULL, 0, 'p_bob', X'6964206F6620626F62206B6579', 3, 1772366400000, 1772395200000, 1772366400000, 'lost', '{"limits":{"idle":3600000000000,"absolute":28800000000000},"address":"192.0.2.1","browser":"browser","attachment":"platform","amr":["hwk","user"],"acr":"acr","binding":"none"}');
INSERT INTO session_hot VALUES (1, 1772366400000, 1772366400000, NULL);
INSERT INTO session_hot VALUES (2, 1772366400000, 1772366400000, NULL);
INSERT INTO gateways VALUES ('edge', 'Edge', X'2EB635EB84FB0C7290CAC7CE1F44B6F41F6E571BC54C210E0FE226053FE8E775', '["wiki","prod"]', 1772366400000, 'sam', 'nginx', 1, 'https://edge.example', '0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', '/run/muster/edge.sock');
INSERT INTO elevations VALUES (1, 'el_ibfab5jv2a6p4hj3u2ovcgs2vq', 's_js6gseqsyewl4urzk5pi6cvn4u', 'p_alice', 'prod', 'the database is slow', 'admins', 600000, 1772366400000, 1772367300000, 1772366400000, 1772367000000, 'p_bob', 0, '');
INSERT INTO bypasses VALUES (1, 'by_6yvlm7uk7fwxx7lts55hh2opmy', 'old', NULL, 'disk', 'why', 3, 1772366400000, 'sam', 1772370000000, 0);
INSERT INTO signing_keys VALUES (1, 'k', X'6E6F206B6579', 3, 1772366400000);
INSERT INTO baselines VALUES (1, 1, X'2687F86ED6784B8A5FCA36E6C468E12AA44DC3C7E8137E3160D1A95079BDCD02', X'7B226E616D65223A22617070726F766564227D', 'approved', 1772366400000, 1772366400000, 1772366400000, 'person:alice', 'why');
INSERT INTO baselines VALUES (2, 1, X'83C874D33E8BFF73CAAA762C79CD1ED101D727C7F20FE4972C67E67978292F23', X'7B226E616D65223A2272656675736564227D', 'refused', 1772366400000, 1772366400000, 1772366400000, 'person:alice', 'why');
INSERT INTO fleet VALUES (1, 'model', 1, 1772366400000);
INSERT INTO fleet_values VALUES (1, 'pk', X'EB3102A6CB586765D01FAD324523EC0BC67B9EFD6A2D9589C135ADFEDF7922CC');
INSERT INTO enrolment_evidence VALUES (1, 1, X'30A7711821C3313987F21AAF7FF50C5F2B74C985F2C36B8728B6FEEDBCD4828B', 1772366400000, X'1F8B08000000000004FF001000EFFF05626567696E0666696E697368027B7D010000FFFF26D2570810000000');
CREATE TRIGGER devices_revoked_for_ever BEFORE UPDATE OF state ON devices
WHEN OLD.state = 'revoked' AND NEW.state <> 'revoked'
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
CREATE TRIGGER devices_stay BEFORE DELETE ON devices
BEGIN
	SELECT RAISE(ABORT, 'devices are revoked, not deleted');
END;
CREATE TRIGGER dead_keys_no_update BEFORE UPDATE ON dead_keys
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
CREATE TRIGGER dead_keys_no_delete BEFORE DELETE ON dead_keys
BEGIN
	SELECT RAISE(ABORT, 'revoked is for ever');
END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER persons_stay BEFORE DELETE ON persons
BEGIN
	SELECT RAISE(ABORT, 'persons are disabled, not deleted');
END;
CREATE TRIGGER persons_stay_who_they_are BEFORE UPDATE OF id, name, handle ON persons
BEGIN
	SELECT RAISE(ABORT, 'a name is given once');
END;
CREATE TRIGGER dead_passkeys_no_update BEFORE UPDATE ON dead_passkeys
BEGIN
	SELECT RAISE(ABORT, 'removed is for ever');
END;
CREATE TRIGGER dead_passkeys_no_delete BEFORE DELETE ON dead_passkeys
BEGIN
	SELECT RAISE(ABORT, 'removed is for ever');
END;
CREATE TRIGGER passkeys_removed_for_ever BEFORE INSERT ON passkeys
WHEN EXISTS (SELECT 1 FROM dead_passkeys WHERE id = NEW.id)
BEGIN
	SELECT RAISE(ABORT, 'removed is for ever');
END;
CREATE TRIGGER passkeys_stay_whose_they_are BEFORE UPDATE ON passkeys
BEGIN
	SELECT RAISE(ABORT, 'a registration does not change');
END;
CREATE TRIGGER sessions_ended_for_ever BEFORE UPDATE ON sessions
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended session is over for ever');
END;
CREATE TRIGGER sessions_stay_whose_they_are
BEFORE UPDATE OF n, id, person, credential, epoch, created_at, over_at, detail ON sessions
BEGIN
	SELECT RAISE(ABORT, 'whose session it is does not change');
END;
CREATE TRIGGER sessions_end_first BEFORE DELETE ON sessions
WHEN OLD.ended_at = 0
BEGIN
	SELECT RAISE(ABORT, 'sessions are ended, not deleted');
END;
CREATE TRIGGER sessions_of_the_disabled BEFORE INSERT ON sessions
WHEN NEW.ended_at = 0 AND (SELECT disabled FROM persons WHERE id = NEW.person) = 1
BEGIN
	SELECT RAISE(ABORT, 'a disabled person has no session');
END;
CREATE TRIGGER persons_disabled_without_sessions BEFORE UPDATE OF disabled ON persons
WHEN NEW.disabled = 1 AND EXISTS (SELECT 1 FROM sessions WHERE person = NEW.id AND ended_at = 0)
BEGIN
	SELECT RAISE(ABORT, 'a disabled person has no session');
END;
CREATE TRIGGER session_hot_ended_for_ever BEFORE UPDATE ON session_hot
WHEN (SELECT ended_at FROM sessions WHERE n = OLD.n) <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended session is over for ever');
END;
CREATE TRIGGER offers_used_once BEFORE UPDATE ON offers
WHEN OLD.taken_at <> 0 OR OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an offer is taken once');
END;
CREATE TRIGGER api_tokens_ended_for_ever BEFORE UPDATE ON api_tokens
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended token is over for ever');
END;
CREATE TRIGGER elevations_ended_for_ever BEFORE UPDATE ON elevations
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended elevation is over for ever');
END;
CREATE TRIGGER elevations_granted_once BEFORE UPDATE OF granted_at, ends_at, approved_by ON elevations
WHEN OLD.granted_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an elevation is granted once');
END;
CREATE TRIGGER elevations_stay_what_was_asked
BEFORE UPDATE OF n, id, session, person, app, why, approval, lasts, asked_at, expires_at ON elevations
BEGIN
	SELECT RAISE(ABORT, 'what was asked for does not change');
END;
CREATE TRIGGER elevations_end_first BEFORE DELETE ON elevations
WHEN OLD.ended_at = 0
BEGIN
	SELECT RAISE(ABORT, 'elevations are ended, not deleted');
END;
CREATE TRIGGER elevations_begin_asked BEFORE INSERT ON elevations
WHEN NEW.ended_at <> 0 OR NEW.granted_at <> 0
	OR NOT EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session AND person = NEW.person AND ended_at = 0)
BEGIN
	SELECT RAISE(ABORT, 'an elevation is asked for by a live session of its person');
END;
CREATE TRIGGER sessions_end_without_elevations BEFORE UPDATE OF ended_at ON sessions
WHEN NEW.ended_at <> 0 AND EXISTS (SELECT 1 FROM elevations WHERE session = NEW.id AND ended_at = 0)
BEGIN
	SELECT RAISE(ABORT, 'an ended session has no elevation');
END;
CREATE TRIGGER bypasses_ended_for_ever BEFORE UPDATE ON bypasses
WHEN OLD.ended_at <> 0
BEGIN
	SELECT RAISE(ABORT, 'an ended bypass is over for ever');
END;
CREATE TRIGGER bypasses_stay_what_they_are
BEFORE UPDATE OF n, id, device, person, rule, why, epoch, created_at, created_by, expires_at ON bypasses
BEGIN
	SELECT RAISE(ABORT, 'what a bypass lets pass does not change');
END;
CREATE TRIGGER signing_keys_stay BEFORE UPDATE ON signing_keys
BEGIN
	SELECT RAISE(ABORT, 'a signing key does not change');
END;
INSERT INTO meta VALUES (1, '0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 3, 7, 'https://old.example', 0, 'old.example');
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1), (3, 1), (4, 1);
