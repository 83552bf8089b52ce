package gateway

import (
	"os"
	"strings"
	"testing"
)

// README.md is what operators and applications build on: it names everything that
// the wire has.
func TestReadmeNamesTheWire(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(string(b))
	names := append(IdentityHeaders(), codeUnreadable, codeUnknown, codeDialect, codeNotYours, codeRestricted, codeTryAgain, codeTimeout, codeInternal,
		mustSignIn, mustStepUp, mustLink, mustEnd, mustReadOnly, PathCheck, PathEvaluation, PathEvaluations, PathConfiguration, PathIntrospection, PathJWKS,
		"session-required", "subject-unsupported", "subject-missing", "resource-unsupported", "action-missing", "item-unreadable",
		"Sec-WebSocket-Key", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
	for _, d := range dialects() {
		g, ok := grammarOf(d)
		if !ok {
			t.Errorf("%s has no grammar", d)
		}
		names = append(names, string(d), g.method, g.target, g.host, g.address, g.upgrade)
	}
	for _, name := range names {
		if name == "" || !strings.Contains(text, strings.ToLower(name)) {
			t.Errorf("README.md does not name %q", name)
		}
	}
	if lines := strings.Count(text, "\n"); lines > 200 {
		t.Errorf("README.md has %d lines", lines)
	}
}
