package collectors

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"muster/attest/posture"
)

// Settings that only root may read are unknown(permission), whatever the sockets
// say.
func TestRemoteAccessPermission(t *testing.T) {
	m := remoteMachine(t, map[string]string{"proc/net/tcp": sockets(listen(any4, 22)), "etc/ssh/sshd_config": ""})
	if err := os.Chmod(filepath.Join(m.Tree.dir, "etc/ssh/sshd_config"), 0); err != nil {
		t.Fatal(err)
	}
	var c posture.Claims
	asNobody(func() { collectRemoteAccess(context.Background(), m, &c) })
	if c.RemoteAccess.State != posture.Unknown || c.RemoteAccess.Reason != posture.Permission {
		t.Errorf("settings for root only: %+v", c.RemoteAccess)
	}
}
