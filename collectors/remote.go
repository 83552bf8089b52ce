package collectors

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"muster/attest/posture"
)

// collectRemoteAccess says what lets somebody in from outside: listening
// sockets that other machines reach, and how sshd lets people in. Which program
// owns a socket is not looked at; its port says what it is for.
func collectRemoteAccess(ctx context.Context, m *Machine, c *posture.Claims) {
	var detail posture.RemoteAccess
	ssh, sshErr := sshSettings(ctx, m)
	if sshErr == nil {
		detail.SSHPassword, detail.SSHRootLogin = yesNo(ssh.password), yesNo(ssh.root)
	}
	ports, err := listeningPorts(m.Tree)
	if err != nil {
		reason := whyUnknown(err)
		if m.Run == nil && errors.Is(err, fs.ErrNotExist) {
			reason = posture.NotThisRoot
		}
		c.RemoteAccess = posture.Observed(m.Now(), posture.Unknown, reason, detail)
		return
	}
	running := slices.ContainsFunc(append([]uint16{sshPort}, ssh.ports...), func(p uint16) bool { return slices.Contains(ports, p) })
	detail.SSHRunning = yesNo(running)
	desktop, telnet := false, false
	for _, port := range ports {
		service := remoteService(port)
		if service == "" || slices.Contains(ssh.ports, port) || slices.Contains(detail.Listening, service) {
			continue
		}
		detail.Listening = append(detail.Listening, service)
		desktop = desktop || service == "rdp" || service == "vnc" || service == "x11"
		telnet = telnet || service == "telnet" || service == "rlogin"
	}
	state, reason := posture.Yes, posture.Reason("")
	switch {
	case desktop:
		state, reason = posture.No, posture.RemoteDesktop
	case telnet:
		state, reason = posture.No, posture.PasswordLogin
	case running && sshErr != nil:
		state, reason = posture.Unknown, sshReason(m, sshErr)
	case running && ssh.password:
		state, reason = posture.No, posture.PasswordLogin
	case running && ssh.root:
		state, reason = posture.No, posture.RootLogin
	}
	c.RemoteAccess = posture.Observed(m.Now(), state, reason, detail)
}

// sshReason: a server that listens without the settings of OpenSSH is another
// one, which we cannot judge.
func sshReason(m *Machine, err error) posture.Reason {
	if errors.Is(err, fs.ErrNotExist) {
		return posture.Unsupported
	}
	return whyNoAnswer(err)
}

// sshPort is where sshd listens unless told otherwise.
const sshPort = 22

// remoteService names what a port is for, or is empty for one that lets nobody
// in.
func remoteService(port uint16) string {
	switch {
	case port == 23:
		return "telnet"
	case port >= 512 && port <= 514:
		return "rlogin"
	case port == 3389:
		return "rdp"
	case port >= 5900 && port <= 5910:
		return "vnc"
	case port >= 6000 && port <= 6010:
		return "x11"
	}
	return ""
}

// listeningPorts returns the TCP ports of this machine that others may reach.
// A kernel without IPv6 has no second list.
func listeningPorts(t Tree) ([]uint16, error) {
	b, err := t.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	ports, err := parseListening(b)
	if err != nil {
		return nil, err
	}
	b, err = t.ReadFile("/proc/net/tcp6")
	if errors.Is(err, fs.ErrNotExist) {
		return ports, nil
	}
	if err != nil {
		return nil, err
	}
	more, err := parseListening(b)
	if err != nil {
		return nil, err
	}
	ports = append(ports, more...)
	slices.Sort(ports)
	return slices.Compact(ports), nil
}
