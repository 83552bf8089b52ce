#!/bin/bash
# Captures what dnf and zypper print over a small local repository, in an
# install root of its own. Kept as provenance of ../dnf and ../zypper; no test
# and no CI runs it.
#
# Needs root and Debian's dnf, zypper, rpm and createrepo-c.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

build() { # name, version
  cat >"$work/$1.spec" <<S
Name: $1
Version: $2
Release: 1
Summary: A package for captures
License: Apache-2.0
BuildArch: noarch
%description
Nothing.
%files
S
  rpmbuild -bb --define "_topdir $work/rpm" --define "_rpmdir $work/built" "$work/$1.spec" >/dev/null 2>&1
}
for version in 1.0 1.1; do build muster-weak "$version"; build muster-plain "$version"; done

repo=$work/repo
mkdir -p "$repo" && cp "$work"/built/noarch/*-1.1-1.noarch.rpm "$repo"
cat >"$work/updateinfo.xml" <<U
<?xml version="1.0" encoding="UTF-8"?>
<updates>
  <update from="security@example.org" status="stable" type="security" version="1">
    <id>MUSTER-2026-1</id><title>muster-weak: a hole</title><release>1</release>
    <issued date="2026-11-01 00:00:00"/><severity>Important</severity>
    <summary>A hole</summary><description>A hole.</description>
    <pkglist><collection short="m"><name>m</name>
      <package name="muster-weak" version="1.1" release="1" epoch="0" arch="noarch" src="muster-weak-1.1-1.src.rpm"><filename>muster-weak-1.1-1.noarch.rpm</filename></package>
    </collection></pkglist>
  </update>
  <update from="maint@example.org" status="stable" type="bugfix" version="1">
    <id>MUSTER-2026-2</id><title>muster-plain: a wart</title><release>1</release>
    <issued date="2026-11-02 00:00:00"/><severity>Low</severity>
    <summary>A wart</summary><description>A wart.</description>
    <pkglist><collection short="m"><name>m</name>
      <package name="muster-plain" version="1.1" release="1" epoch="0" arch="noarch" src="muster-plain-1.1-1.src.rpm"><filename>muster-plain-1.1-1.noarch.rpm</filename></package>
    </collection></pkglist>
  </update>
</updates>
U
createrepo_c -q "$repo"
modifyrepo_c "$work/updateinfo.xml" "$repo/repodata" >/dev/null
plain=$work/plainrepo
mkdir -p "$plain" && cp "$work"/built/noarch/*-1.1-1.noarch.rpm "$plain" && createrepo_c -q "$plain"

make_root() { # root, repo, versions of muster-weak and muster-plain
  rm -rf "$1"; mkdir -p "$1/etc/yum.repos.d" "$1/etc/zypp/repos.d" "$1/var/lib/rpm" "$1/etc/products.d" "$1/etc/dnf" "$1/usr/lib/sysimage/rpm"
  rpm --root "$1" --nodeps --dbpath /var/lib/rpm -i "$work/built/noarch/muster-weak-$3-1.noarch.rpm" "$work/built/noarch/muster-plain-$4-1.noarch.rpm" 2>/dev/null
  # Debian's rpm library looks for the database in the home directory.
  mkdir -p "$1$HOME" && rm -rf "$1$HOME/.rpmdb" && cp -a "$1/var/lib/rpm" "$1$HOME/.rpmdb"
  printf '[demo]\nname=demo\nbaseurl=file://%s\nenabled=1\ngpgcheck=0\nskip_if_unavailable=0\n' "$2" | tee "$1/etc/yum.repos.d/demo.repo" >"$1/etc/zypp/repos.d/demo.repo"
}
dnf_() { dnf --installroot="$root" --releasever=1 "$@"; }
keep() { # directory, name, command...: output, first error line and status
  local dir=$here/../$1 name=$2; shift 2
  mkdir -p "$dir"
  "$@" >"$dir/$name.out" 2>"$work/err"; local status=$?
  [ "$status" = 0 ] && rm -f "$dir/$name.status" || { echo "$status"; sed "s#$work#/tmp/work#g" "$work/err" | head -3; } >"$dir/$name.status"
  sed -i "s#$work#/tmp/work#g" "$dir/$name.out"
}
ask_dnf() { # case
  keep dnf "$1-check-update" dnf_ -q -C --disableplugin='*' --setopt=disable_excludes='*' check-update
  keep dnf "$1-security" dnf_ -q -C --disableplugin='*' --setopt=disable_excludes='*' updateinfo list --security
}
zypper_() { zypper --root "$root" "$@"; }
ask_zypper() { # case
  keep zypper "$1-patches" zypper_ --xmlout --non-interactive --no-refresh list-patches
  keep zypper "$1-updates" zypper_ --xmlout --non-interactive --no-refresh list-updates
}
for case in "security 1.0 1.0" "other 1.1 1.0" "none 1.1 1.1"; do
  set -- $case
  root=$work/root-$1
  make_root "$root" "$repo" "$2" "$3"
  dnf_ -q makecache >/dev/null; ask_dnf "$1"
  zypper_ --non-interactive refresh >/dev/null; ask_zypper "$1"
done
( cd "$work/root-none" && find var/cache -type f | sort ) >"$here/../dnf/cache-layout.txt"
root=$work/root-noinfo; make_root "$root" "$plain" 1.0 1.0
dnf_ -q makecache >/dev/null; ask_dnf noinfo; zypper_ --non-interactive refresh >/dev/null; ask_zypper noinfo
( cd "$root" && find var/cache -type f | sort ) >"$here/../dnf/cache-layout-noinfo.txt"
root=$work/root-nocache; make_root "$root" "$repo" 1.0 1.0
ask_dnf nocache; ask_zypper nocache
