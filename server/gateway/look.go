package gateway

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"
)

// LookFunc answers a question, now. It must not return nil.
type LookFunc func(ctx context.Context, q *Question, c *Credential) *Answer

// maxLook is how long an answer may take: a gateway's clients wait for it.
const maxLook = 2 * time.Second

// Codes of refusals that come from here and from no policy (README.md).
const (
	codeUnreadable = "request-unreadable"
	codeUnknown    = "gateway-unknown"
	codeDialect    = "dialect-wrong"
	codeNotYours   = "app-not-yours"
	codeRestricted = "restricted"
	codeTryAgain   = "try-again"
	codeTimeout    = "timeout"
	codeInternal   = "internal"
)

// Ask calls look with a limit on its time. Whatever goes wrong denies: a panic, no
// answer, and one that comes too late.
func (look LookFunc) Ask(ctx context.Context, q *Question, c *Credential, log *slog.Logger) *Answer {
	ctx, cancel := context.WithTimeout(ctx, maxLook)
	defer cancel()
	a := guarded(log, func() *Answer { return look(ctx, q, c) })
	if ctx.Err() != nil {
		return late()
	}
	return a
}

func late() *Answer {
	return Refusal(codeTimeout, "The server could not decide in time.", "Try again in a moment.")
}

// guarded turns a panic and a missing answer into a refusal.
func guarded(log *slog.Logger, ask func() *Answer) (a *Answer) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("look panicked", "panic", p, "stack", string(debug.Stack()))
			a = internal()
		}
	}()
	if a = ask(); a == nil {
		log.Error("look gave no answer")
		return internal()
	}
	return a
}

func internal() *Answer {
	return Refusal(codeInternal, "The server could not decide.", "Ask the administrator to look at the server's log.")
}
