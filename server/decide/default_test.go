package decide

import (
	"errors"
	"testing"
)

// TestDefault runs the tests that the shipped policy brings.
func TestDefault(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	results := p.Test(func(string) ([]byte, error) { return nil, errors.New("no file is needed") })
	if len(results) < 10 {
		t.Errorf("only %d tests ran", len(results))
	}
	for _, r := range results {
		if r.Problem != "" {
			t.Errorf("default.yaml:%d: %s: %s", r.Line, r.Name, r.Problem)
		}
	}
}
