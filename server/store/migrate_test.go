package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"muster/attest"
)

var updateFixture = flag.Bool("store.update", false, "write the last schema's fixture anew")

// The fixtures are databases as versions left them. Once released, neither they
// nor the migrations that made them change.
const (
	firstFixture  = "testdata/schema-1.sql"
	secondFixture = "testdata/schema-2.sql"
	thirdFixture  = "testdata/schema-3.sql"
	lastFixture   = "testdata/schema-4.sql"
)

// fromFixture makes a database as the first version left it.
func fromFixture(t *testing.T) (path string) { return fromFixtureOf(t, firstFixture) }

func fromFixtureOf(t *testing.T, fixture string) (path string) {
	t.Helper()
	path = newPath(t)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	db, err := connect(path, writing, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(string(b)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A database of each version opens, with what was in it, and has the schema of a
// new one. So no migration is other than when its fixture was made of it.
func TestOldDatabaseOpens(t *testing.T) {
	if *updateFixture {
		dump(t)
	}
	for _, fixture := range []string{firstFixture, secondFixture, thirdFixture, lastFixture} {
		t.Run(filepath.Base(fixture), func(t *testing.T) { openOld(t, fixture) })
	}
}

func openOld(t *testing.T, fixture string) {
	path := fromFixtureOf(t, fixture)
	noGateway := fixture == firstFixture || fixture == secondFixture
	if noGateway {
		oldGateway(t, path)
	}
	old, fresh := openAt(t, path), openAt(t, newPath(t))
	view(t, old, func(tx *Tx) error {
		m, err := tx.Meta()
		if err != nil || m.Tenant != strings.Repeat("0a", 16) || m.Epoch != 3 || m.Generation != 8 {
			t.Errorf("meta: %+v, %v", m, err)
		}
		d, err := tx.Device("old")
		want := laptop("old")
		want.n = 1
		if err != nil || fmt.Sprintf("%+v", d) != fmt.Sprintf("%+v", want) {
			t.Errorf("device: %+v, %v", d, err)
		}
		h, err := tx.Hot("old")
		if err != nil || h.Seq != 41 || h.Last != digestOf("last") || h.Resync {
			t.Errorf("hot: %+v, %v", h, err)
		}
		r, err := tx.LatestReport("old")
		if err != nil || string(r.JWS) != "jws" {
			t.Errorf("report: %+v, %v", r, err)
		}
		return nil
	})
	if head, err := old.VerifyAudit(context.Background()); err != nil || head.Seq != 2 {
		t.Errorf("audit: %d, %v", head.Seq, err)
	}
	wantOldGateway(t, old, !noGateway)
	if fixture != firstFixture {
		oldPeople(t, old)
	}
	if !noGateway {
		oldElevation(t, old)
	}
	oldBoot(t, old, fixture == lastFixture)
	update(t, old, func(tx *Tx) error { return revoke(tx, "old", "admin", "old") })
	a, b := schema(t, old), schema(t, fresh)
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Errorf("the old database has schema\n%s\nand a new one\n%s", a, b)
	}
}

// oldGateway adds one as the first versions wrote it.
func oldGateway(t *testing.T, path string) {
	t.Helper()
	db, err := connect(path, writing, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO gateways (id, name, hash, apps, created_at, created_by)
		VALUES ('edge', 'Edge', x'` + strings.Repeat("0c", 32) + `', '["wiki"]', 1, 'sam')`); err != nil {
		t.Fatal(err)
	}
}

// wantOldGateway: one that is older than dialects asks as it did, and no more.
func wantOldGateway(t *testing.T, s *Store, last bool) {
	t.Helper()
	want := &Gateway{ID: "edge", Name: "Edge", Apps: []string{"wiki"}, Dialect: "authzen", CreatedAt: instant(1), CreatedBy: "sam"}
	if last {
		want = aGateway()
	}
	view(t, s, func(tx *Tx) error {
		got, err := tx.Gateway("edge")
		if err == nil && last {
			want.CreatedAt = got.CreatedAt
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("gateway: %+v, %v", got, err)
		}
		return nil
	})
}

// oldElevation checks what the last fixture has of privileged access.
func oldElevation(t *testing.T, s *Store) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		list, err := tx.Elevations("")
		if err != nil || len(list) != 1 || list[0].Person != "p_alice" || list[0].ApprovedBy != "p_bob" {
			t.Errorf("elevations: %+v, %v", list, err)
		}
		keys, err := tx.SigningKeys()
		if err != nil || len(keys) != 1 || string(keys[0].Private) != "no key" {
			t.Errorf("signing keys: %+v, %v", keys, err)
		}
		var bypasses int
		err = tx.first([]any{&bypasses}, "SELECT count(*) FROM bypasses WHERE ended_at = 0 AND device = 'old'")
		if bypasses != 1 {
			t.Errorf("%d bypasses", bypasses)
		}
		return err
	})
}

// oldBoot checks what the last fixture has of how devices start. In older ones
// nothing is known, and can be from now on.
func oldBoot(t *testing.T, s *Store, last bool) {
	t.Helper()
	if !last {
		view(t, s, func(tx *Tx) error {
			known, err := tx.Baselines("old")
			then, err2 := tx.Successors("old")
			if len(known)+len(then) != 0 {
				t.Errorf("baselines %v, successors %v", known, then)
			}
			return errors.Join(err, err2)
		})
		update(t, s, dumpBoot)
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Baselines("old")
		if err != nil || len(list) != 2 || list[0].State != BaselineRefused || list[1].State != BaselineApproved {
			t.Errorf("baselines: %+v, %v", list, err)
		}
		then, err := tx.Successors("old")
		if err != nil || len(then) != 1 || then[0].ID != "then" || then[0].Predecessor != "old" {
			t.Errorf("successors: %+v, %v", then, err)
		}
		v, err := tx.FleetValues("old")
		if err != nil || v.Model != "model" || !v.Counts || len(v.Values) != 1 {
			t.Errorf("fleet values: %+v, %v", v, err)
		}
		e, err := tx.EnrolmentEvidence("old", digestOf("dkold"))
		if err != nil || string(e.Begin) != "begin" {
			t.Errorf("evidence: %+v, %v", e, err)
		}
		return nil
	})
	lines, err := s.journal.read()
	if err != nil || !recall(lines).refused[refusal("old", orNull(digestOf("refused")))] {
		t.Errorf("the journal that was made anew does not know the refusal: %v", err)
	}
}

// oldPeople checks what the last fixture has of people.
func oldPeople(t *testing.T, s *Store) {
	view(t, s, func(tx *Tx) error {
		p, err := tx.PersonByName("alice")
		if err != nil || p.Disabled || len(p.Handle) != 32 {
			t.Errorf("person: %+v, %v", p, err)
		}
		if k, err := tx.PasskeyByID([]byte("id of alice key")); err != nil || k.Person != p.ID {
			t.Errorf("passkey: %+v, %v", k, err)
		}
		list, err := tx.Sessions(p.ID)
		if err != nil || len(list) != 1 || list[0].Browser != "browser" {
			t.Errorf("sessions: %+v, %v", list, err)
		}
		m, err := tx.Meta()
		if err == nil && m.RPID != "old.example" {
			t.Errorf("meta: %+v", m)
		}
		return err
	})
	if !disabled(t, s, "bob") {
		t.Error("bob is enabled")
	}
	refused(t, s, "removed passkey", ErrRevoked, func(tx *Tx) error { return tx.AddPasskey(aPasskey("alice", "bob key")) })
}

// schema lists what was created, in this order.
func schema(t *testing.T, s *Store) (all []string) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		return tx.query(func(row scanner) error {
			var text string
			err := row.Scan(&text)
			all = append(all, text)
			return err
		}, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
	})
	return all
}

// dumpGateway adds what schema 3 brought.
func dumpGateway(tx *Tx) error {
	if _, err := tx.AddGateway(aGateway()); err != nil {
		return err
	}
	list, err := tx.Sessions("p_alice")
	if err != nil {
		return err
	}
	e := anElevation(list[0].ID, "p_alice", "admins", tx.Now())
	if err := tx.AddElevation(e); err != nil {
		return err
	}
	_, err = tx.GrantElevation(e.ID, "p_bob")
	return errors.Join(err, tx.AddSigningKey(&SigningKey{ID: "k", Private: []byte("no key")}),
		tx.AddBypass(&Bypass{Device: "old", Rule: "disk", Why: "why", CreatedBy: "sam", Expires: tx.Now().Add(time.Hour)}))
}

// dumpBoot adds what schema 4 brought.
func dumpBoot(tx *Tx) error {
	then := laptop("then")
	then.Predecessor, then.State = "old", attest.Pending
	yes, no := aBaseline("old", "approved", BaselineApproved, tx.Now()), aBaseline("old", "refused", BaselineRefused, tx.Now())
	return errors.Join(tx.InsertDevice(then), tx.PutBaseline(yes), tx.PutBaseline(no),
		tx.SetFleetValues(&FleetValues{Device: "old", Model: "model", Counts: true, ApprovedSince: tx.Now(),
			Values: []BootValue{{"pk", digestOf("pk")}}}),
		tx.PutEnrolmentEvidence("old", anEvidence("old")))
}

// dump writes the last fixture: schema and a few rows.
func dump(t *testing.T) {
	t.Helper()
	s := openAt(t, newPath(t))
	update(t, s, func(tx *Tx) error {
		if err := tx.InsertDevice(laptop("old")); err != nil {
			return err
		}
		h, err := tx.Hot("old")
		if err != nil {
			return err
		}
		tx.epoch = 3
		h.Seq, h.Last = 41, digestOf("last")
		return tx.PutHot(h)
	})
	update(t, s, func(tx *Tx) error {
		return tx.AddReport("old", &Report{Seq: 41, JWS: []byte("jws"), Result: []byte("{}")})
	})
	audited(t, s, 1, 2)
	update(t, s, func(tx *Tx) error {
		tx.epoch = 3
		for _, name := range []string{"alice", "bob"} {
			if err := errors.Join(tx.AddPerson(someone(name)), tx.AddPasskey(aPasskey(name, name+" key"))); err != nil {
				return err
			}
			if _, err := tx.AddSession(aSession(name, name+" key")); err != nil {
				return err
			}
		}
		if err := dumpGateway(tx); err != nil {
			return err
		}
		return errors.Join(dumpBoot(tx), removeKey("bob")(tx), disable("p_bob")(tx))
	})
	var b strings.Builder
	b.WriteString("-- A database of schema 4 with a few rows; test data, its keys are no keys.\n")
	b.WriteString("PRAGMA application_id = 1836413812;\nPRAGMA foreign_keys = OFF;\n")
	// Triggers come last: they let rows begin and change, not be there.
	var triggers strings.Builder
	for _, text := range schema(t, s) {
		to := &b
		if strings.HasPrefix(text, "CREATE TRIGGER") {
			to = &triggers
		}
		to.WriteString(text + ";\n")
	}
	view(t, s, func(tx *Tx) error {
		for _, table := range []string{"devices", "hot", "anchors", "reports", "audit", "persons", "passkeys",
			"passkey_states", "dead_passkeys", "sessions", "session_hot", "gateways", "elevations", "bypasses", "signing_keys",
			"baselines", "fleet", "fleet_values", "enrolment_evidence"} {
			if err := dumpTable(tx, &b, table); err != nil {
				return err
			}
		}
		return nil
	})
	b.WriteString(triggers.String())
	b.WriteString("INSERT INTO meta VALUES (1, '" + strings.Repeat("0a", 16) + "', x'" + strings.Repeat("0b", 32) + "', 3, 7, 'https://old.example', 0, 'old.example');\n")
	b.WriteString("INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1), (3, 1), (4, 1);\n")
	if err := os.MkdirAll(filepath.Dir(lastFixture), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lastFixture, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func dumpTable(tx *Tx, b *strings.Builder, table string) error {
	var columns []string
	if err := tx.query(func(row scanner) error {
		var name string
		err := row.Scan(&name)
		columns = append(columns, "quote("+name+")")
		return err
	}, "SELECT name FROM pragma_table_info('"+table+"')"); err != nil {
		return err
	}
	return tx.query(func(row scanner) error {
		var values string
		err := row.Scan(&values)
		fmt.Fprintf(b, "INSERT INTO %s VALUES (%s);\n", table, values)
		return err
	}, "SELECT "+strings.Join(columns, "||', '||")+" FROM "+table)
}

// next is our migrations and one more.
func next(t *testing.T, sql string) fs.FS {
	t.Helper()
	files := fstest.MapFS{"00005_next.sql": {Data: []byte("-- +goose Up\n" + sql)}}
	ours, err := fs.Glob(migrations(), "*.sql")
	if err != nil || len(ours) != 4 {
		t.Fatal(ours, err)
	}
	for _, name := range ours {
		b, err := fs.ReadFile(migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: b}
	}
	return files
}

func migrateAt(t *testing.T, path string, versions fs.FS) error {
	t.Helper()
	db, err := connect(path, writing, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return migrate(context.Background(), db, versions)
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	path := fromFixture(t)
	if err := migrateAt(t, path, next(t, "ALTER TABLE devices ADD COLUMN colour TEXT;")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: path, Now: newClock().now}); !errors.Is(err, ErrNewer) {
		t.Fatalf("newer database: %v", err)
	}
	db, err := connect(path, writing, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var id string
	if err := db.QueryRow("SELECT id FROM devices WHERE colour IS NULL").Scan(&id); err != nil || id != "old" {
		t.Errorf("after migration: %q, %v", id, err)
	}
}

// A migration that fails half way leaves the database as it was.
func TestFailedMigrationChangesNothing(t *testing.T) {
	path := fromFixture(t)
	err := migrateAt(t, path, next(t, "ALTER TABLE devices ADD COLUMN colour TEXT;\nINSERT INTO nowhere VALUES (1);"))
	if err == nil {
		t.Fatal("it did not fail")
	}
	if s := openAt(t, path); strings.Contains(strings.Join(schema(t, s), ""), "colour") {
		t.Error("half of it stayed")
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	path := newPath(t)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: path, Now: newClock().now}); err == nil {
		t.Fatal("a text file was opened as a database")
	}
}
