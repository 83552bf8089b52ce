// Package installer is where the packages of muster are made: deb, rpm, msi and
// pkg, and the profiles by which a device management system hands out settings.
//
// Of these nothing is here yet. What there is: a service is installed by
// `muster-agent install`, and the hardened systemd unit is package platform's
// muster-agent.service, with the reason for each right that it keeps.
// [muster/platform.Unit] returns it for a program path, so that a package ships
// the very text that the command installs. The unit makes its own private state
// folder (/var/lib/muster, 0700) and needs no account of its own.
//
// It links nothing of the server or the agent.
package installer
