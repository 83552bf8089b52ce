package server

import (
	"context"
	"reflect"
	"time"

	"muster/attest"
	"muster/server/verify"
	"muster/server/web"
)

type apiStart struct {
	Key       string         `json:"key" doc:"Names this way to start."`
	State     string         `json:"state" doc:"new (the first that was seen), drifted (it waits for a word), approved, refused."`
	Now       bool           `json:"now" doc:"The device started like this the last time."`
	Explained bool           `json:"explained" doc:"A boot log tells its parts; else it is known by its registers alone."`
	FirstSeen time.Time      `json:"first_seen"`
	LastSeen  time.Time      `json:"last_seen"`
	DecidedAt *time.Time     `json:"decided_at,omitempty"`
	DecidedBy string         `json:"decided_by,omitempty"`
	Why       string         `json:"why,omitempty" doc:"Of an approval by the fleet: the figures."`
	Changes   []apiChange    `json:"changes" doc:"Against the way that was in force when this one came."`
	Parts     []apiStartPart `json:"parts" doc:"How common each part is."`
	Others    int            `json:"others" doc:"Other devices that start in the same way and wait."`
}

type apiChange struct {
	Component string `json:"component"`
	Text      string `json:"text"`
	Expected  bool   `json:"expected" doc:"Microsoft rolls it out to every machine."`
}

type apiStartPart struct {
	Component string `json:"component"`
	Shows     int    `json:"shows" doc:"Other healthy devices of the model that show the same."`
	Of        int    `json:"of" doc:"Other healthy devices of the model."`
	Approved  int    `json:"approved" doc:"Those in which it has been approved for a week."`
}

func asStart(one *web.Start) apiStart {
	out := apiStart{
		Key: one.Key, State: string(one.State), Now: one.Now, Explained: !one.Unexplained, FirstSeen: one.FirstSeen, LastSeen: one.LastSeen,
		DecidedAt: when(one.DecidedAt), DecidedBy: one.DecidedBy, Why: one.Why, Others: one.Others, Changes: []apiChange{}, Parts: []apiStartPart{},
	}
	for _, c := range one.Changes {
		out.Changes = append(out.Changes, asChange(c))
	}
	for _, name := range verify.ComponentNames() {
		if p, ok := one.Parts[name]; ok {
			out.Parts = append(out.Parts, apiStartPart{name, p.Shows, p.Of, p.Approved})
		}
	}
	return out
}

func asChange(c verify.BootChange) apiChange { return apiChange{c.Component, c.Text, c.Expected} }

// starts are the operations on how devices start.
func (a *api) starts() {
	s := a.s
	operate(a, "GET", "/devices/{id}/baselines", "devices:read", "List the ways in which a device started, the last seen first", nil, 0,
		func(ctx context.Context, in *oneID) (*body[[]apiStart], error) {
			detail, err := s.detail(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			out := &body[[]apiStart]{Body: make([]apiStart, 0, len(detail.Starts))}
			for i := range detail.Starts {
				out.Body = append(out.Body, asStart(&detail.Starts[i]))
			}
			return out, nil
		})
	type named struct {
		ID  string `path:"id" doc:"The device's id."`
		Key string `path:"key" doc:"Of the way to start: the whole key, or at least its first 32 hexadecimal digits."`
	}
	type spread struct {
		Everywhere bool `json:"everywhere,omitempty" doc:"For all devices that start in the same way and wait."`
	}
	type decided struct {
		Devices []string `json:"devices" doc:"For which it counts."`
	}
	decide := func(ctx context.Context, in *named, approve, everywhere bool) (*body[decided], error) {
		ids, err := s.decideStart(ctx, string(asked(ctx).program), in.ID, in.Key, approve, everywhere)
		if err != nil {
			return nil, err
		}
		return &body[decided]{decided{ids}}, nil
	}
	operate(a, "POST", "/devices/{id}/baselines/{key}/approve", "devices:write", "Approve a way to start", reflect.TypeFor[spread](), attest.MaxMessage,
		func(ctx context.Context, in *named) (*body[decided], error) {
			var q spread
			if b := asked(ctx).body; len(b) > 0 {
				if err := read(b, &q); err != nil {
					return nil, err
				}
			}
			return decide(ctx, in, true, q.Everywhere)
		})
	operate(a, "POST", "/devices/{id}/baselines/{key}/refuse", "devices:write", "Refuse a way to start: the device opens nothing while it starts so", nil, 0,
		func(ctx context.Context, in *named) (*body[decided], error) {
			return decide(ctx, in, false, false)
		})
}
