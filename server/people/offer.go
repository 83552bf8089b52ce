package people

import (
	"encoding/json"
	"fmt"

	"muster/server/store"
)

// dataOf reads what an offer stands for, as it was kept.
func dataOf[T any](o *store.Offer) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(o.Data, v); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", o.Kind, o.ID, err)
	}
	return v, nil
}

// rewrite keeps what a live offer stands for by now.
func rewrite(tx *store.Tx, o *store.Offer, v any) (err error) {
	if o.Data, err = json.Marshal(v); err != nil {
		return err
	}
	return tx.UpdateOffer(o)
}
