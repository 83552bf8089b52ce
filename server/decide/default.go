package decide

import (
	_ "embed"
	"fmt"
)

//go:embed default.yaml
var defaultPolicy string

// Default is the policy that holds until an administrator brings one, and its
// text to begin from. An error is a defect of ours.
func Default() (*Policy, string, error) {
	p, err := Load("default.yaml", []byte(defaultPolicy))
	if err != nil {
		return nil, "", fmt.Errorf("load the default policy: %w", err)
	}
	return p, defaultPolicy, nil
}
