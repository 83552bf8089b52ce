-- +goose Up
-- How devices start, what proved their keys, and which device a system was before.
-- Times, digests: as in 00001.
ALTER TABLE devices ADD COLUMN predecessor TEXT REFERENCES devices (id) CHECK (predecessor <> id);

CREATE INDEX devices_predecessor ON devices (predecessor) WHERE predecessor IS NOT NULL;

-- Ways in which a device started: a few of each.
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

-- What each device shows now, to compare over a model. Whether it is one that
-- counts for others is asked of devices, too, whenever it matters.
CREATE TABLE fleet (
	n              INTEGER PRIMARY KEY REFERENCES devices (n),
	model          TEXT    NOT NULL,
	counts         INTEGER NOT NULL CHECK (counts IN (0, 1)),
	approved_since INTEGER NOT NULL
) STRICT;

CREATE INDEX fleet_model ON fleet (model, n, approved_since) WHERE counts = 1;

-- Those that may count: rows of devices are long, and comparing reads many.
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

-- The boot key that came with a report: JSON of its certification.
ALTER TABLE reports ADD COLUMN dkb BLOB;
