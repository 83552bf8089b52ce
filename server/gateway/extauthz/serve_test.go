package extauthz

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"muster/server/gateway"
)

// A call that never brings its message does not keep the server from ending.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	nobody := func(context.Context, string) (*gateway.Credential, bool) { return nil, false }
	look := func(context.Context, *gateway.Question, *gateway.Credential) *gateway.Answer { return nil }
	go func() { ended <- Serve(ctx, l, "", look, nobody, gateway.Places{}) }()
	client, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hangs, err := client.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/envoy.service.auth.v3.Authorization/Check")
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.CloseSend()
	time.Sleep(200 * time.Millisecond) // until the server has the call; see below
	began := time.Now()
	stop()
	select {
	case err := <-ended:
		if took := time.Since(began); err != nil || took < drain/2 {
			t.Errorf("after %v: %v; the call did not hang", took, err)
		}
	case <-time.After(drain + 10*time.Second):
		t.Error("it goes on")
	}
}
