package extauthz

import (
	"context"
	"slices"
	"strings"
	"testing"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"muster/server/decide"
	"muster/server/gateway"
)

// FuzzCheck: whatever message comes, the answer is a denial or an OK that sets every
// identity header, hands no cookie of muster's on, and can be sent.
func FuzzCheck(f *testing.F) {
	for _, r := range []*auth.CheckRequest{{}, asked("/allow"), asked("/%2f"), written()} {
		text, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	f.Add([]byte("\xff\xff\xff"))
	allow := func(context.Context, *gateway.Question, *gateway.Credential) *gateway.Answer {
		return gateway.NewAnswer(decide.Decision{Outcome: decide.Allow}, who())
	}
	open, closed := newServer(allow, gateways(""), places()), newServer(decideBy, gateways(""), places())
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+secret))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := new(auth.CheckRequest)
		if proto.Unmarshal(text, r) != nil {
			return
		}
		answer, err := open.Check(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proto.Marshal(answer); err != nil {
			t.Fatalf("gRPC would answer in our place: %v", err)
		}
		if answer.GetStatus().GetCode() != int32(codes.OK) {
			refused(t, answer)
			return
		}
		set, removed := allowed(t, answer)
		if strings.Contains(strings.ToLower(set["cookie"]), cookiePrefix) || slices.Contains(removed, "authorization") || r.GetAttributes().GetContextExtensions()["app"] != "wiki" {
			t.Errorf("%v %v", set, removed)
		}
		if answer, err = closed.Check(context.Background(), r); err != nil || answer.GetOkResponse() != nil {
			t.Errorf("without a credential: %v %v", answer, err)
		}
	})
}
