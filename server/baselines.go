package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"muster/attest"
	"muster/server/people"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// detail tells more of a device than how it stands.
func (s *Server) detail(ctx context.Context, id string) (*web.DeviceDetail, error) {
	d := s.fleet.get(id)
	if d == nil {
		return nil, store.ErrNotFound
	}
	d.mu.Lock()
	var now attest.Digest
	model := ""
	if d.result != nil {
		now, model = d.result.Boot.SetKey, modelOf(d.result)
	}
	d.mu.Unlock()
	out := new(web.DeviceDetail)
	var keys []attest.Digest // of out.Starts
	err := s.store.View(ctx, func(tx *store.Tx) error {
		row, err := tx.Device(id)
		if err != nil {
			return err
		}
		out.Predecessor = row.Predecessor
		after, err := tx.Successors(id)
		if err != nil {
			return err
		}
		for _, one := range after {
			out.Successors = append(out.Successors, one.ID)
		}
		if out.Anchors, err = anchorsOf(tx, id); err != nil {
			return err
		}
		out.Starts, keys, err = s.startsOf(tx, id, model, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, key := range keys { // outside of the store: it asks every device
		if one := &out.Starts[i]; one.State == store.BaselineDrifted || one.Now {
			one.Others = len(slices.DeleteFunc(s.everywhere(key), func(other string) bool { return other == id }))
		}
	}
	return out, nil
}

func anchorsOf(tx *store.Tx, id string) ([]web.Anchor, error) {
	kept, err := tx.Anchors(id)
	list := make([]web.Anchor, 0, len(kept))
	for _, a := range kept {
		one := web.Anchor{Key: a.DKID.String(), Level: a.Level.String(), From: a.From, Until: a.Until, Cause: a.Cause}
		if !a.EKHash.IsZero() {
			one.EKSHA256 = hexOf(a.EKHash)
		}
		list = append(list, one)
	}
	return list, err
}

// startsOf lists the ways in which a device started, each with what it changed and
// how common it is. What this version cannot read is listed without.
func (s *Server) startsOf(tx *store.Tx, id, model string, now attest.Digest) (list []web.Start, keys []attest.Digest, err error) {
	kept, err := tx.Baselines(id)
	if err != nil {
		return nil, nil, err
	}
	sets := make([]*verify.BootSet, len(kept))
	list = make([]web.Start, 0, len(kept))
	for i, b := range kept {
		if set := new(verify.BootSet); json.Unmarshal(b.Set, set) == nil {
			sets[i] = set
		}
	}
	for i, b := range kept {
		one := web.Start{
			Key: hexOf(b.Key), State: b.State, Now: b.Key == now, FirstSeen: b.FirstSeen, LastSeen: b.LastSeen,
			DecidedAt: b.DecidedAt, DecidedBy: b.DecidedBy, Why: b.Why, Unexplained: sets[i] == nil || !sets[i].Explained,
		}
		if set := sets[i]; set != nil {
			if before := inForce(kept, sets, i); before != nil {
				one.Changes = set.Changes(before, s.bootReferences())
			}
			if one.Parts, err = prevalence(tx, id, model, set); err != nil {
				return nil, nil, err
			}
		}
		list, keys = append(list, one), append(keys, b.Key)
	}
	return list, keys, nil
}

// inForce finds the way to start that another one, at an index, is to be compared
// with: the last seen of those that were there before and counted.
func inForce(kept []*store.Baseline, sets []*verify.BootSet, at int) *verify.BootSet {
	for i, b := range kept {
		counted := b.State == store.BaselineApproved || b.State == store.BaselineNew
		if i != at && counted && sets[i] != nil && b.FirstSeen.Before(kept[at].FirstSeen) {
			return sets[i]
		}
	}
	return nil
}

// prevalence tells for each part of a set how many of the other healthy devices of
// the model show it.
func prevalence(tx *store.Tx, id, model string, set *verify.BootSet) (map[string]store.Prevalence, error) {
	if model == "" {
		return nil, nil
	}
	parts := make(map[string]store.Prevalence)
	for name, value := range set.Components() {
		var err error
		if parts[name], err = tx.Prevalence(model, id, store.BootValue{Component: name, Value: value}, tx.Now().Add(-approvedFor)); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// minKeyPrefix is how many digits of a key name one way to start: as many as nobody
// makes another start for.
const minKeyPrefix = 32

// startNamed finds the key that a prefix names, among those of a device. There is no
// other name: what somebody saw is what is decided, whatever the device did since.
func (s *Server) startNamed(ctx context.Context, id, prefix string) (key attest.Digest, err error) {
	if s.fleet.get(id) == nil {
		return key, store.ErrNotFound
	}
	prefix = strings.ToLower(prefix)
	if len(prefix) < minKeyPrefix || len(prefix) > 2*len(key) || strings.Trim(prefix, "0123456789abcdef") != "" {
		return key, refuse(http.StatusBadRequest, "start-key", "This is no key of a way to start.", "Give the whole key, or at least its first 32 hexadecimal digits.")
	}
	found := 0
	err = s.store.View(ctx, func(tx *store.Tx) error {
		kept, err := tx.Baselines(id)
		for _, b := range kept {
			if strings.HasPrefix(hex.EncodeToString(b.Key[:]), prefix) {
				key = b.Key
				found++
			}
		}
		return err
	})
	switch {
	case err != nil:
		return attest.Digest{}, err
	case found == 0:
		return attest.Digest{}, refuse(http.StatusNotFound, "start-unknown", "This device is not known to have started in that way.", "List its ways to start; those that were not seen for long are forgotten.")
	case found > 1:
		return attest.Digest{}, refuse(http.StatusConflict, "start-ambiguous", "Several ways to start have keys that begin so.", "Give more digits.")
	}
	return key, nil
}

// decideStart is somebody's word on a way to start, everywhere where it waits for
// one, or for one device. It returns the devices for which it counts.
func (s *Server) decideStart(ctx context.Context, by, id, prefix string, approve, everywhere bool) ([]string, error) {
	if everywhere && !approve {
		return nil, refuse(http.StatusBadRequest, "start-everywhere", "A way to start is refused one device at a time.", "Refuse it for each.")
	}
	key, err := s.startNamed(ctx, id, prefix)
	if err != nil {
		return nil, err
	}
	if err := s.decideBaseline(ctx, by, id, key, approve); err != nil {
		return nil, err
	}
	ids := []string{id}
	if !everywhere {
		return ids, nil
	}
	for _, other := range s.everywhere(key) {
		switch err := s.decideBaseline(ctx, by, other, key, true); {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrStale):
			// It has started in another way since, or somebody else had a word on it.
		case err != nil:
			return ids, err
		default:
			ids = append(ids, other)
		}
	}
	return ids, nil
}

// startDecision approves or refuses a way to start.
type startDecision struct {
	// Key is at least its first 32 hexadecimal digits.
	Key string `json:"key"`
	// Everywhere: for all devices that start in the same way and wait.
	Everywhere bool `json:"everywhere,omitempty"`
}

// startDecided tells for which devices.
type startDecided struct {
	Devices []string `json:"devices"`
}

// listBaselines handles the control socket's GET /devices/{id}/baselines.
func (s *Server) listBaselines(r *http.Request, _ []byte) (any, error) {
	detail, err := s.detail(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return detail.Starts, nil
}

func (s *Server) approveBaseline(r *http.Request, body []byte) (any, error) {
	return s.decideLocally(r, body, true)
}

func (s *Server) refuseBaseline(r *http.Request, body []byte) (any, error) {
	return s.decideLocally(r, body, false)
}

func (s *Server) decideLocally(r *http.Request, body []byte, approve bool) (any, error) {
	var q startDecision
	if err := read(body, &q); err != nil {
		return nil, err
	}
	ids, err := s.decideStart(r.Context(), localActor, r.PathValue("id"), q.Key, approve, q.Everywhere)
	if err != nil {
		return nil, err
	}
	return startDecided{ids}, nil
}

// officeDecides is an administrator's word, from the pages.
func (s *Server) officeDecides(ctx context.Context, by people.Actor, id, key string, approve, everywhere bool) (int, error) {
	ids, err := s.decideStart(ctx, string(by), id, key, approve, everywhere)
	if known := (*refusal)(nil); errors.As(err, &known) {
		return 0, &people.Refusal{Status: known.Status, Code: known.Code, Text: known.Detail, Fix: known.Fix}
	}
	return len(ids), err
}

// Notices of drift: a laptop whose registers somebody moves at will does not fill
// its administrators' mail.
const (
	driftsTold = 3
	driftsIn   = 24 * time.Hour
)

// tellDrift tells administrators that a device was seen for the first time to start
// in another way, which nobody approved and Microsoft did not roll out.
func (s *Server) tellDrift(tx *store.Tx, st *start, changes []string) error {
	if !st.fresh || st.expected || st.baseline.State != store.BaselineDrifted {
		return nil
	}
	kept, err := tx.Baselines(st.baseline.Device)
	if err != nil {
		return err
	}
	recent := 0
	for _, b := range kept {
		if b.State == store.BaselineDrifted && b.FirstSeen.After(tx.Now().Add(-driftsIn)) {
			recent++ // this one, too
		}
	}
	if recent > driftsTold {
		return nil
	}
	return s.people.Drifted(tx, st.baseline.Device, st.laptop, changes)
}

// tellWithheld notes that a device names a boot log and does not send it, and tells
// administrators.
func (s *Server) tellWithheld(tx *store.Tx, d *device, log attest.Digest) error {
	if err := s.people.Drifted(tx, d.row.ID, d.row.Name, []string{"it names a boot log and does not send it, so that nobody can tell how"}); err != nil {
		return err
	}
	return audit(tx, "device "+d.row.ID, "device.boot-log-withheld", d.row.ID, struct {
		Log attest.Digest `json:"log"`
	}{log})
}

// tellMoved tells administrators and the owner of a device that it waits with other
// keys, unless it waited for the same before.
func (s *Server) tellMoved(tx *store.Tx, row *store.Device, waited string) error {
	if row.State != attest.Pending || !reanchors(row.Cause) || row.Cause == waited {
		return nil
	}
	return s.people.Moved(tx, row.ID, row.Name, row.Owner, row.Cause, row.CauseText)
}
