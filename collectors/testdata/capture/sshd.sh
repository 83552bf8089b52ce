#!/bin/bash
# Captures what `sshd -T` says of many configurations. Kept as provenance of
# ../sshd; no test and no CI runs it. Needs root and Debian's openssh-server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../sshd
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"; rmdir /run/sshd 2>/dev/null || true' EXIT
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
one() { # name, configuration on standard input
  cat >"$out/$1.conf"
  sshd -T -h "$work/key" -f "$out/$1.conf" | sed "s#$work#/tmp/work#g" | grep -v '^hostkey ' >"$out/$1.effective"
}
one empty </dev/null
one debian <<'C'
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
C
one keys-only <<'C'
# PasswordAuthentication yes
passwordauthentication no   # keys
KbdInteractiveAuthentication=no
UsePAM yes
PermitRootLogin "no"
Port 2222
PasswordAuthentication yes
C
one pam-asks <<'C'
PasswordAuthentication no
UsePAM yes
C
one challenge-off <<'C'
PasswordAuthentication no
ChallengeResponseAuthentication no
UsePAM yes
PermitRootLogin prohibit-password
C
one root <<'C'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
ListenAddress 127.0.0.1:2022
ListenAddress [::]:2023
ListenAddress ::1
C
one two-factors <<'C'
UsePAM yes
AuthenticationMethods publickey,password publickey,keyboard-interactive
C
one password-listed <<'C'
AuthenticationMethods publickey,password password
C
one match-loosens <<'C'
PasswordAuthentication no
KbdInteractiveAuthentication no
Match User guest Address 192.0.2.0/24
	PasswordAuthentication yes
C
one match-root <<'C'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
Match Address 192.0.2.0/24
    PermitRootLogin yes
C
one match-tightens <<'C'
PasswordAuthentication yes
Match Group staff
    PasswordAuthentication no
C
