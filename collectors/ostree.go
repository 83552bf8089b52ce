package collectors

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// lookOstree asks rpm-ostree for its deployments. A system of this kind is as
// old as the tree that it started from: an update replaces the whole.
func lookOstree(ctx context.Context, m *Machine) patchFacts {
	f := patchFacts{manager: "rpm-ostree", mixed: true}
	out, err := m.run(ctx, "rpm-ostree", "status", "--json")
	if err != nil {
		f.err = err
		return f
	}
	status, err := parseOstree(out)
	if err != nil {
		f.err = err
		return f
	}
	f.metadataAt, f.staged = status.composed, status.waiting
	f.countOther(status.pending)
	return f
}

// ostreeStatus is what counts of `rpm-ostree status --json`.
type ostreeStatus struct {
	composed time.Time // when the tree that runs was made
	waiting  bool      // another tree is the next to start
	pending  int       // 1: a newer tree is known, but not here
}

// parseOstree reads `rpm-ostree status --json` (rpm-ostree(1); the members are
// those of the D-Bus interface org.projectatomic.rpmostree1).
func parseOstree(out []byte) (ostreeStatus, error) {
	var doc struct {
		Deployments []struct {
			Booted        bool
			Staged        bool
			Timestamp     int64
			BaseTimestamp int64 `json:"base-timestamp"`
		}
		Cached map[string]json.RawMessage `json:"cached-update"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return ostreeStatus{}, fmt.Errorf("%w: rpm-ostree's JSON: %w", errUnparsable, err)
	}
	var status ostreeStatus
	booted := -1
	for i, d := range doc.Deployments {
		if !d.Booted {
			continue
		}
		if booted >= 0 {
			return ostreeStatus{}, fmt.Errorf("%w: two booted deployments", errUnparsable)
		}
		booted = i
		// With packages on top, the time of the tree below them counts.
		at := d.Timestamp
		if d.BaseTimestamp != 0 {
			at = d.BaseTimestamp
		}
		if at > 0 {
			status.composed = time.Unix(at, 0).UTC()
		}
	}
	if booted < 0 {
		return ostreeStatus{}, fmt.Errorf("%w: no booted deployment", errUnparsable)
	}
	// The first of the list is the next to start.
	status.waiting = booted > 0
	if len(doc.Cached) > 0 {
		status.pending = 1
	}
	return status, nil
}
