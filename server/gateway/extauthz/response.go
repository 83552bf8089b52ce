package extauthz

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"muster/server/gateway"
)

// Names of muster's cookies begin so, and those of its headers, in lower case.
const (
	cookiePrefix = "__host-muster"
	headerPrefix = "x-muster-"
)

// answerOf tells Envoy a reply. client are the headers of the request that passes.
func answerOf(reply gateway.Reply, client http.Header) *auth.CheckResponse {
	if reply.Status == http.StatusOK {
		return &auth.CheckResponse{
			Status:       &status.Status{Code: int32(codes.OK)},
			HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: pass(reply.Header, client)},
		}
	}
	return denied(reply.Status, headerOptions(reply.Header), reply.Body)
}

// denied is a refusal. It is never Envoy's ErrorResponse, which failure_mode_allow
// may let through.
func denied(code int, headers []*core.HeaderValueOption, body []byte) *auth.CheckResponse {
	if _, known := envoytype.StatusCode_name[int32(code)]; !known || code < http.StatusMultipleChoices {
		code = http.StatusForbidden
	}
	why := codes.PermissionDenied
	if code == http.StatusUnauthorized {
		why = codes.Unauthenticated
	}
	return &auth.CheckResponse{
		Status: &status.Status{Code: int32(why)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status: &envoytype.HttpStatus{Code: envoytype.StatusCode(code)}, Headers: headers, Body: strings.ToValidUTF8(string(body), "?"),
		}},
	}
}

// broken is the answer of a defect of ours.
func broken() *auth.CheckResponse {
	headers := []*core.HeaderValueOption{overwrite("Cache-Control", "no-store"), overwrite("Content-Type", "application/problem+json")}
	return denied(http.StatusServiceUnavailable, headers,
		[]byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"code":"internal","outcome":"deny","reasons":[]}`+"\n"))
}

// pass hands every identity header to the application, and nothing else of
// muster's: headers that some servers take for one of those are removed, and so are
// muster's cookies.
func pass(identity, client http.Header) *auth.OkHttpResponse {
	ok := new(auth.OkHttpResponse)
	set := map[string]bool{}
	for _, name := range gateway.IdentityHeaders() {
		name = http.CanonicalHeaderKey(name)
		ok.Headers = append(ok.Headers, overwrite(name, identity.Get(name)))
		set[name] = true
		// Known by name, since Envoy may be told to keep headers from us.
		ok.HeadersToRemove = append(ok.HeadersToRemove, strings.ReplaceAll(strings.ToLower(name), "-", "_"))
	}
	for _, name := range slices.Sorted(maps.Keys(client)) {
		twin := strings.HasPrefix(plain(name), headerPrefix) && !set[name]
		if name = strings.ToLower(name); twin && utf8.ValidString(name) && !slices.Contains(ok.HeadersToRemove, name) {
			ok.HeadersToRemove = append(ok.HeadersToRemove, name)
		}
	}
	switch rest, found := othersCookies(client["Cookie"]); {
	case found && rest == "":
		ok.HeadersToRemove = append(ok.HeadersToRemove, "cookie")
	case found:
		ok.Headers = append(ok.Headers, overwrite("Cookie", rest))
	}
	return ok
}

// plain is a header's name as those see it who keep names as variables: any
// character but letters and digits is the same one.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
}

// othersCookies leaves muster's own cookies out. found tells whether there were any.
// A pair that has the name anywhere is left out: Envoy joins cookie lines of HTTP/1
// by commas, so that one may hide in the value of another.
func othersCookies(lines []string) (rest string, found bool) {
	var kept []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			switch {
			case strings.Contains(strings.ToLower(pair), cookiePrefix):
				found = true
			case pair != "" && utf8.ValidString(pair): // a message cannot carry others
				kept = append(kept, pair)
			}
		}
	}
	return strings.Join(kept, "; "), found
}

// headerOptions are the headers of a refusal, in order of their names.
func headerOptions(h http.Header) (out []*core.HeaderValueOption) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			out = append(out, overwrite(name, value))
		}
	}
	return out
}

// overwrite replaces whatever the client sent under a name. Envoys of all ages must
// read it so: old ones know append alone, and newer ones take a missing append for
// what append_action says, which by default is to add a second value.
func overwrite(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header: &core.HeaderValue{Key: name, Value: strings.ToValidUTF8(value, "?")},
		//lint:ignore SA1019 see above
		Append:         wrapperspb.Bool(false),
		AppendAction:   core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		KeepEmptyValue: true,
	}
}
