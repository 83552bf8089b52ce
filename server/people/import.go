package people

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"muster/attest"
	"muster/server/session"
	"muster/server/store"
)

// imported tells what an import did.
type imported struct {
	Added, Changed, Same int
	Disabled             int `json:"disabled,omitempty"`
}

// Limits of an import.
const (
	maxImport = 10 << 20 // bytes
	maxRows   = 100_000
	maxRow    = 64 << 10 // bytes of one
)

// row is one person of an import. What is absent stays as it is; of a new person
// it is empty, and the role that of a person.
type row struct {
	Name      string      `json:"name"`
	Display   *string     `json:"display"`
	Mail      *string     `json:"mail"`
	Role      *store.Role `json:"role"`
	Groups    *[]string   `json:"groups"`
	Approvers *[]string   `json:"approvers"`
}

// over is a person as the row wants them.
func (r *row) over(old store.Person) *store.Person {
	old.Name = r.Name
	if r.Display != nil {
		old.Display = *r.Display
	}
	if r.Mail != nil {
		old.Mail = *r.Mail
	}
	if r.Role != nil {
		old.Role = *r.Role
	}
	if r.Groups != nil {
		old.Groups = *r.Groups
	}
	if r.Approvers != nil {
		old.Approvers = *r.Approvers
	}
	return &old
}

// badRow is the refusal of one row, counted from 1.
func badRow(n int, what string) *Refusal {
	return refuse(400, "import-row", fmt.Sprintf("Row %d cannot be imported: %s. Nothing was.", n, what), "Correct the file and import it again.")
}

// badFile is the refusal of a whole file.
func badFile(what string) *Refusal {
	return refuse(400, "import-file", "This file cannot be imported: "+what+".", "Give a JSON list of persons: name, display, mail, role, groups, approvers.")
}

// readRows reads a file strictly, and checks what can be told of each row alone.
func readRows(file []byte) ([]row, error) {
	if len(file) > maxImport {
		return nil, badFile("it is longer than 10 MB")
	}
	var raw []jsontext.Value
	// A member that stands twice is its row's fault, and found there.
	if err := json.Unmarshal(file, &raw, jsontext.AllowDuplicateNames(true)); err != nil || raw == nil {
		return nil, badFile("it is no JSON list")
	}
	if len(raw) == 0 || len(raw) > maxRows {
		return nil, badFile("it must have 1 to 100,000 rows")
	}
	rows := make([]row, len(raw))
	first := map[string]int{}
	for i, b := range raw {
		if len(b) > maxRow {
			return nil, badRow(i+1, "it is longer than 64 kB")
		}
		if err := attest.Decode(b, &rows[i]); err != nil {
			return nil, badRow(i+1, session.Cut(err.Error()))
		}
		if what := wrongIn(rows[i].over(store.Person{Role: store.RolePerson})); what != "" {
			return nil, badRow(i+1, what)
		}
		if before := first[rows[i].Name]; before > 0 {
			return nil, badRow(i+1, fmt.Sprintf("row %d has the same name", before))
		}
		first[rows[i].Name] = i + 1
	}
	return rows, nil
}

// Import adds and changes persons from a file: JSON, a list of Invitation
// without Device and Days, at most 10 MB. All or nothing; nobody is disabled by
// being absent. What a row leaves out stays as it is.
func (p *People) Import(ctx context.Context, by Actor, file []byte) (*imported, error) {
	rows, err := readRows(file)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(file)
	var done *imported
	err = p.update(ctx, func(tx *store.Tx) error {
		done = new(imported)
		if err := p.take(tx, by, rows, done); err != nil {
			return err
		}
		return audit(tx, by, "person.import", hex.EncodeToString(digest[:]), done)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// take keeps the rows, for an administrator.
func (p *People) take(tx *store.Tx, by Actor, rows []row, done *imported) error {
	w, err := powerOf(tx, by)
	if err != nil {
		return err
	}
	if w.role != store.RoleAdministrator {
		return errRole
	}
	all, err := tx.Persons()
	if err != nil {
		return err
	}
	there := make(map[string]*store.Person, len(all)+len(rows))
	for _, person := range all {
		there[person.Name] = person
	}
	for i := range rows {
		if err := p.takeRow(tx, by, w, &rows[i], there, done); err != nil {
			return inRow(i+1, err)
		}
	}
	// Approvers may stand further down in the file.
	for i := range rows {
		if rows[i].Approvers == nil {
			continue
		}
		for _, name := range *rows[i].Approvers {
			if there[name] == nil {
				return badRow(i+1, "there is no person "+name+" who could approve")
			}
		}
	}
	return nil
}

// inRow tells with a refusal which row it is about.
func inRow(n int, err error) error {
	if r, ok := err.(*Refusal); ok {
		return refuse(r.Status, r.Code, fmt.Sprintf("Row %d: %s Nothing was imported.", n, r.Text), r.Fix)
	}
	return err
}

// takeRow adds or changes one person.
func (p *People) takeRow(tx *store.Tx, by Actor, w power, r *row, there map[string]*store.Person, done *imported) error {
	old := there[r.Name]
	if old == nil {
		person := r.over(store.Person{Role: store.RolePerson, CreatedBy: string(by)})
		if err := w.gives(person.Role); err != nil {
			return err
		}
		person, err := create(tx, person, by)
		there[r.Name] = person
		done.Added++
		return err
	}
	person := r.over(*old)
	if what := wrongIn(person); what != "" {
		return wrong(what)
	}
	if len(differences(old, person)) == 0 {
		done.Same++
		return nil
	}
	done.Changed++
	return p.change(tx, by, w, old, person)
}
