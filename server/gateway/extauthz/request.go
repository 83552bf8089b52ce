package extauthz

import (
	"net/http"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"muster/server/gateway"
)

// maxHeaders bounds the header fields of a request. Envoy takes 100 by default.
const maxHeaders = 1024

// read is the request as the attributes tell it. Method, target, host and address
// are Envoy's own; the client's headers tell only what headers may tell. ok is false
// where the attributes contradict themselves.
func read(attributes *auth.AttributeContext) (seen *gateway.Seen, ok bool) {
	request := attributes.GetRequest().GetHttp()
	header, pseudo, ok := headersOf(request)
	if !ok {
		return nil, false
	}
	for name, told := range map[string]string{":method": request.GetMethod(), ":path": request.GetPath(), ":authority": request.GetHost()} {
		for _, value := range pseudo[name] {
			if value != told {
				return nil, false
			}
		}
	}
	return &gateway.Seen{
		Method: request.GetMethod(), Target: request.GetPath(), Host: request.GetHost(),
		Address: attributes.GetSource().GetAddress().GetSocketAddress().GetAddress(),
		// Over HTTP/2 another protocol is asked for by a pseudo header (RFC 8441 §4).
		Upgrade: len(header["Upgrade"]) > 0 || len(pseudo[":protocol"]) > 0,
		Header:  header,
	}, true
}

// headersOf reads the headers, by canonical names, from the one of two forms that is
// there: a map in which Envoy joined those of a name, or all as they came. Names
// that differ in case are the same name.
func headersOf(request *auth.AttributeContext_HttpRequest) (header, pseudo http.Header, ok bool) {
	list := request.GetHeaderMap().GetHeaders()
	if n := len(request.GetHeaders()); n > 0 && len(list) > 0 || n > maxHeaders || len(list) > maxHeaders {
		return nil, nil, false
	}
	header, pseudo = http.Header{}, http.Header{}
	add := func(name, value string) {
		if strings.HasPrefix(name, ":") {
			pseudo[name] = append(pseudo[name], value)
			return
		}
		header.Add(name, value)
	}
	for name, value := range request.GetHeaders() {
		if !oneLine(name) || !oneLine(value) {
			return nil, nil, false
		}
		add(name, value)
	}
	for _, field := range list {
		value, ok := valueOf(field)
		if !ok || !oneLine(field.GetKey()) || !oneLine(value) {
			return nil, nil, false
		}
		add(field.GetKey(), value)
	}
	return header, pseudo, true
}

// valueOf is a header's value, of which Envoy sets the raw form only.
func valueOf(field *core.HeaderValue) (value string, ok bool) {
	raw, text := string(field.GetRawValue()), field.GetValue()
	if raw == "" {
		return text, true
	}
	return raw, text == "" || text == raw
}

// oneLine reports whether text can stand in a header (RFC 9110 §5.5).
func oneLine(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
