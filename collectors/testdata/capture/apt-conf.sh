#!/bin/bash
# Captures how apt itself reads configurations: each folder of ../updates/apt
# has parts, and what `apt-config dump` makes of them. Kept as provenance; no
# test and no CI runs it. Debian's apt suffices.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../updates/apt
rm -rf "$out"
part() { mkdir -p "$out/$1/etc/apt/apt.conf.d"; cat >"$out/$1/etc/apt/apt.conf.d/$2"; }
part usual 20auto-upgrades <<'C'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
C
part usual 50unattended-upgrades <<'C'
// Comments with "quotes" and { braces }
Unattended-Upgrade::Origins-Pattern {
//      "origin=Debian,codename=${distro_codename}-updates";
        "origin=Debian,codename=${distro_codename},label=Debian-Security"; # inline
        "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
};
/* Unattended-Upgrade::Origins-Pattern { "origin=x"; };
*/
Unattended-Upgrade::Mail "";
C
cp -a "$out/usual" "$out/overridden"
part overridden 99local <<'C'
apt::periodic::unattended-upgrade "0";
C
cp -a "$out/usual" "$out/ignored-part"
part ignored-part 99local.disabled <<'C'
APT::Periodic::Unattended-Upgrade "0";
C
part ignored-part 99local.conf~ <<'C'
APT::Periodic::Unattended-Upgrade "0";
C
cp -a "$out/usual" "$out/switched-off"
part switched-off 10periodic <<'C'
APT { Periodic { Enable "0"; Verbose "1"; }; };
C
cp -a "$out/usual" "$out/cleared"
part cleared 99clear <<'C'
#clear Unattended-Upgrade::Origins-Pattern;
C
cp -a "$out/usual" "$out/nested"
part nested 30nested.conf <<'C'
APT
{
  Periodic
  {
    Update-Package-Lists "2"; Unattended-Upgrade "12h";
  }
}
Unattended-Upgrade::Origins-Pattern:: "origin=Other";
C
cp -a "$out/usual" "$out/main-file"
printf 'APT::Periodic::Update-Package-Lists "0";\n' >"$out/main-file/etc/apt/apt.conf"
for d in "$out"/*/; do
  touch "$d/etc/apt/apt.conf"
  APT_CONFIG=/dev/null apt-config dump -o Dir::Etc="$d/etc/apt" 2>/dev/null >/dev/null || true
  cat >"$d/main" <<C
Dir::Etc::parts "$d/etc/apt/apt.conf.d"; Dir::Etc::main "$d/etc/apt/apt.conf"; Dir "/";
C
  APT_CONFIG="$d/main" apt-config dump 2>/dev/null | grep -E '^(APT::Periodic|Unattended-Upgrade)' >"$d/dump" || true
  rm -f "$d/main"; [ -s "$d/etc/apt/apt.conf" ] || rm -f "$d/etc/apt/apt.conf"
done
