package server

import (
	"crypto/sha256"
	"slices"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/evidence"
	"muster/server/store"
)

// reasonsMay is how often the audit log hears of reasons that change while the
// outcome stays.
const reasonsMay = 10 * time.Minute

// turned reports whether the audit log should hear of a decision: of another outcome,
// and of other reasons of a device that was admitted. The caller holds d.mu.
func (d *device) turned(a *answers) bool {
	if d.auditedAt.IsZero() || d.audited != a.worst.Outcome {
		return true
	}
	return d.row.State == attest.Active && !slices.Equal(d.reasons, codes(a.worst)) && a.at.Sub(d.auditedAt) >= reasonsMay
}

// told notes what the audit log has. The caller holds d.mu.
func (d *device) told(a *answers) {
	d.audited, d.reasons, d.auditedAt = a.worst.Outcome, codes(a.worst), a.at
}

func codes(d decide.Decision) []string {
	list := make([]string, 0, len(d.Reasons))
	for _, r := range d.Reasons {
		list = append(list, r.Code)
	}
	return list
}

// auditDecision writes what was decided of a device upon a statement.
func auditDecision(tx *store.Tx, d *device, a *answers, on *store.Report) error {
	return audit(tx, "device "+d.row.ID, "decision", d.row.ID, evidence.DecisionRecord{
		Outcome: a.worst.Outcome.String(), Reasons: codes(a.worst), Report: on.Digest, Policy: a.policy.Digest(),
		At: a.at, Grace: d.grace, Bypasses: d.bypasses, TPM: d.tpm, Result: sha256.Sum256(on.Result),
	})
}
