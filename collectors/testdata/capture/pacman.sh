#!/bin/bash
# Captures what `pacman -Qu` prints over a small local repository. Kept as
# provenance of ../pacman; no test and no CI runs it.
#
# Needs root and Debian's pacman-package-manager and libarchive-tools.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../pacman
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

build() { # name, version: a package by hand, as makepkg lays it out
  mkdir -p "$work/pkg"; rm -f "$work/pkg/.PKGINFO"
  printf 'pkgname = %s\npkgbase = %s\npkgver = %s\npkgdesc = For captures\nurl = https://example.org\nbuilddate = 1700000000\npackager = nobody\nsize = 0\narch = any\nlicense = Apache-2.0\n' \
    "$1" "$1" "$2" >"$work/pkg/.PKGINFO"
  (cd "$work/pkg" && bsdtar -czf "$work/$1-$2-any.pkg.tar.gz" .PKGINFO)
}
for v in 1.0-1 1.1-1; do build muster-weak $v; build muster-held $v; done
root=$work/root; mkdir -p "$root/var/lib/pacman" "$work/repo"
cp "$work"/*-1.1-1-any.pkg.tar.gz "$work/repo"
(cd "$work/repo" && repo-add -q core.db.tar.gz ./*.pkg.tar.gz >/dev/null)
cat >"$work/pacman.conf" <<C
[options]
Architecture = auto
SigLevel = Never
IgnorePkg = muster-held
[core]
Server = file://$work/repo
C
pac() { pacman --config "$work/pacman.conf" --root "$root" --dbpath "$root/var/lib/pacman" --cachedir "$work/cache" --noconfirm "$@"; }
keep() { local name=$1; shift
  "$@" >"$out/$name.out" 2>"$work/err"; local status=$?
  [ "$status" = 0 ] && rm -f "$out/$name.status" || { echo "$status"; sed "s#$work#/tmp/work#g" "$work/err" | head -3; } >"$out/$name.status"; }
pac -U "$work"/muster-weak-1.0-1-any.pkg.tar.gz "$work"/muster-held-1.0-1-any.pkg.tar.gz >/dev/null 2>&1
keep nodb pac -Qu
pac -Sy >/dev/null 2>&1
keep pending pac -Qu
pac -U "$work"/muster-weak-1.1-1-any.pkg.tar.gz "$work"/muster-held-1.1-1-any.pkg.tar.gz >/dev/null 2>&1
keep none pac -Qu
printf garbage >"$root/var/lib/pacman/sync/core.db"
keep broken pac -Qu
