package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"muster/attest"
	"muster/server/store"
)

// refusal is an answer other than 2xx, as an error that handlers return.
type refusal struct{ attest.Problem }

func (r *refusal) Error() string { return r.Code }

// refuse makes a refusal with a stable code, a sentence and a way to fix it.
func refuse(status int, code, detail, fix string) *refusal {
	return &refusal{attest.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Fix: fix,
	}}
}

// answerError writes any error as a problem document (RFC 9457).
func answerError(w http.ResponseWriter, log *slog.Logger, err error) {
	known := told(log, err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(known.Status)
	_ = json.NewEncoder(w).Encode(known.Problem)
}

// told is what is answered to an error. What we did not foresee is a 500 without
// detail: the log has it.
func told(log *slog.Logger, err error) *refusal {
	var known *refusal
	var refused *attest.Error
	switch {
	case errors.As(err, &known):
	case asRefusal(err) != nil:
		known = asRefusal(err)
	case errors.As(err, &refused):
		known = refuse(statusOf(refused.Code), string(refused.Code), "", fixOf(refused.Code))
		log.Info("statement refused", "reason", refused.Code, "detail", cut(refused.Detail))
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrStale):
		known = refuse(http.StatusServiceUnavailable, attest.CodeUnavailable, "The server is busy; nothing was changed.", "It is tried again by itself.")
		known.RetryS = 5
	default:
		known = refuse(http.StatusInternalServerError, "internal", "The server could not do this; nothing was changed.", "Ask the administrator to look at the server's log.")
		log.Error("request not answered", "error", err)
	}
	return known
}

// refusal is what is answered to an error outside of the device protocol.
func (s *Server) refusal(err error) *refusal {
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = refuse(http.StatusNotFound, "not-found", "There is no such thing.", "List them to see the ids.")
	case errors.Is(err, store.ErrRevoked):
		err = revoked()
	}
	return told(s.log, err)
}

// cut shortens what a stranger may have written before it goes to the log.
func cut(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// statusOf maps the contract's codes: what the device can mend by going on from
// where the server stands is 409, the rest is 400.
func statusOf(code attest.Code) int {
	switch code {
	case attest.OutOfStep, attest.NonceUnknown, attest.NonceExpired, attest.QuoteNeeded,
		attest.QuoteUnbound, attest.TranscriptWrong:
		return http.StatusConflict
	case attest.TooLarge:
		return http.StatusRequestEntityTooLarge
	case attest.KeyUnknown, attest.KeyRole, attest.DeviceMismatch, attest.ClockBack, attest.TemplateWrong:
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

func fixOf(code attest.Code) string {
	switch code {
	case attest.KeyUnknown:
		return "The laptop's key is not the enrolled one: enrol it again."
	case attest.ClockBack:
		return "The TPM's clock ran backwards: ask the administrator to look at this device."
	case attest.TemplateWrong:
		return "Update muster-agent: its keys are not the ones that this server accepts."
	case attest.TranscriptWrong:
		return "Check that the agent's server setting is this server's public URL, then enrol again."
	case attest.QuoteNeeded:
		return "The agent brings a quote with its next report."
	}
	return "Update muster-agent; if it is current, tell the administrator this code."
}
