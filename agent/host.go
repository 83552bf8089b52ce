package agent

import (
	"runtime"

	"muster/attest/posture"
)

// hostPlatform names the system that this program runs on.
func hostPlatform() posture.Platform { return posture.Platform(runtime.GOOS) }
