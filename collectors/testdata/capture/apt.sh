#!/bin/bash
# Captures what `apt-get -s dist-upgrade` prints over two small local archives,
# one of them for security, with a state directory of its own. Kept as
# provenance of ../apt; no test and no CI runs it. Debian's apt and dpkg suffice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../apt
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
export LC_ALL=C

deb() { # archive, name, version, further control lines
  local d=$work/pkg; rm -rf "$d"; mkdir -p "$d/DEBIAN" "$work/$1"
  printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: for captures\n%s' "$2" "$3" "${4:-}" >"$d/DEBIAN/control"
  dpkg-deb -b "$d" "$work/$1/$2_$3_all.deb" >/dev/null
}
archive() { # name, label, suite, codename
  (cd "$work/$1" && : >Packages
   for f in *.deb; do dpkg-deb -f "$f"; printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$f" "$(stat -c %s "$f")" "$(sha256sum "$f" | cut -d' ' -f1)"; done >Packages
   printf 'Origin: Debian\nLabel: %s\nSuite: %s\nVersion: 12\nCodename: %s\nDate: %s\nSHA256:\n %s %s Packages\n' "$2" "$3" "$4" \
     "$(date -uR | sed 's/+0000/UTC/')" "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)" >Release)
}
# weak: fixed in the security archive. plain: newer in the main one only.
# shadowed: fixed in the security archive, and newer still in the main one.
# stuck: fixed, but needs what is nowhere. held: fixed, and held.
deb main plain 1.1; deb main shadowed 1.2
deb sec weak 1.0+sec1; deb sec shadowed 1.0+sec1; deb sec held 1.0+sec1
deb stuck stuck 1.0+sec1 $'Depends: nowhere\n'
deb new kernel-meta 2 $'Depends: kernel-2\n'; deb new kernel-2 2
archive main Debian oldstable bookworm
for a in sec stuck new; do archive $a Debian-Security oldstable-security bookworm-security; done

state() { # installed packages as name=version[=hold]
  rm -rf "$work/state"; mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  for p in "$@"; do IFS== read -r n v h <<<"$p"
    printf 'Package: %s\nStatus: %s ok installed\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: for captures\n\n' "$n" "${h:-install}" "$v" >>"$work/status"; done
}
sources() { : >"$work/sources"; for a in "$@"; do echo "deb [trusted=yes] file:$work/$a ./" >>"$work/sources"; done; }
opt() { echo -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- -o Dir::Etc::parts=- -o APT::Sandbox::User=root -o Acquire::Languages=none; }
ask() { # name, further options
  local name=$1; shift
  apt-get $(opt) update >/dev/null 2>&1
  set +e
  apt-get $(opt) -s -o Debug::NoLocking=1 -o APT::Get::Show-User-Simulation-Note=0 -o APT::Color=0 \
    -o APT::Get::Always-Include-Phased-Updates=1 --ignore-hold "$@" dist-upgrade >"$out/$name.out" 2>"$work/err"
  local status=$?; set -e
  [ "$status" = 0 ] && rm -f "$out/$name.status" || { echo "$status"; head -3 "$work/err"; } >"$out/$name.status"
}
t="-t oldstable-security"
sources main sec
state weak=1.0+sec1 plain=1.1;                  ask none $t
state weak=1.0 plain=1.1;                       ask security $t
state weak=1.0+sec1 plain=1.0;                  ask other $t
state weak=1.0 plain=1.0 shadowed=1.0;          ask shadowed $t
state shadowed=1.0;                             ask shadowed-without-preference
state held=1.0=hold;                            ask held $t
sources main stuck; state stuck=1.0 plain=1.1;  ask stuck $t
sources main new; state kernel-meta=1;          ask new-kernel $t
sources main; state weak=1.0 plain=1.0;         ask no-security-archive
state weak=1.0;                                 ask no-such-release -t nowhere
