#!/bin/bash
# Captures `nft -j list ruleset` for many rulesets, each in a network namespace
# of its own so that the machine's rules are not touched. Kept as provenance of
# ../firewall; no test and no CI runs it.
#
# Needs root and Debian's nftables, iptables, ufw and firewalld with dbus.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../firewall
mkdir -p "$out"

nft_case() { # name, ruleset on standard input
  local rules; rules=$(mktemp)
  cat >"$rules"
  unshare -n bash -c 'nft -f "$1" && nft -j list ruleset' - "$rules" >"$out/nft-$1.json"
  rm -f "$rules"
}

nft_case empty </dev/null
nft_case debian-default </etc/nftables.conf

nft_case drop-policy <<'R'
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif "lo" accept comment "loopback"
    ct state vmap { established : accept, related : accept, invalid : drop }
    ip6 nexthdr icmpv6 icmpv6 type { nd-neighbor-solicit, nd-router-advert, nd-neighbor-advert } accept
    ip protocol icmp icmp type echo-request limit rate 5/second accept
    tcp dport { 22, 8000-8010 } ct state new accept
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp dport 546 accept
    ip daddr 224.0.0.251 udp dport 5353 accept
  }
  chain forward { type filter hook forward priority filter; policy drop; }
  chain output { type filter hook output priority filter; policy accept; }
}
R
nft_case reject-at-end <<'R'
table inet filter {
  chain input {
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname { "lo", "virbr0", "docker0" } accept
    tcp dport ssh accept
    counter log prefix "in: " reject with icmpx admin-prohibited
  }
}
R
nft_case accept-first <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    counter accept
    ct state established accept
  }
}
R
nft_case accept-new <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    ct state { new, established, related } accept
  }
}
R
nft_case accept-network-card <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    iifname "wlan0" accept
  }
}
R
nft_case accept-most-ports <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    tcp dport 1025-65535 accept
    udp dport != 53 accept
  }
}
R
nft_case accept-tcp-only <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    meta l4proto tcp accept
  }
}
R
nft_case accept-everybody <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    ip saddr 0.0.0.0/1 accept
    ip saddr 128.0.0.0/1 accept
  }
}
R
nft_case accept-set <<'R'
table inet filter {
  set friends { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 } }
  chain input { type filter hook input priority filter; policy drop;
    ip saddr @friends accept
  }
}
R
nft_case accept-set-of-all <<'R'
table inet filter {
  set friends { type ipv4_addr; flags interval; elements = { 0.0.0.0/1, 192.0.2.0/24 } }
  chain input { type filter hook input priority filter; policy drop;
    ip saddr @friends accept
  }
}
R
nft_case ipv4-only <<'R'
table ip filter {
  chain input { type filter hook input priority filter; policy drop; ct state established accept; }
}
R
nft_case both-families <<'R'
table ip filter {
  chain input { type filter hook input priority filter; policy drop; ct state established accept; }
}
table ip6 filter {
  chain input { type filter hook input priority filter; policy drop; ct state established accept; }
}
R
nft_case ipv6-let-in <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    meta nfproto ipv6 accept
  }
}
R
nft_case jump <<'R'
table inet filter {
  chain last { ip saddr 192.0.2.1 accept; counter drop; }
  chain ours { ct state established,related accept; jump last; }
  chain input { type filter hook input priority filter; policy accept; jump ours; }
}
R
nft_case jump-returns <<'R'
table inet filter {
  chain last { return; drop; }
  chain input { type filter hook input priority filter; policy accept; jump last; }
}
R
nft_case jump-some <<'R'
table inet filter {
  chain last { drop; }
  chain input { type filter hook input priority filter; policy accept; iifname "eth0" jump last; }
}
R
nft_case goto-accepts <<'R'
table inet filter {
  chain zone { tcp dport 22 accept; }
  chain input { type filter hook input priority filter; policy accept; goto zone; drop; }
}
R
nft_case card-returns <<'R'
table inet filter {
  chain guard { iifname "eth0" return; drop; }
  chain input { type filter hook input priority filter; policy accept; jump guard; }
}
R
nft_case vmap <<'R'
table inet filter {
  map by_card { type ifname : verdict; elements = { "eth0" : jump public, "lo" : accept } }
  chain public { tcp dport 22 accept; drop; }
  chain input { type filter hook input priority filter; policy drop;
    iifname vmap @by_card
    meta l4proto vmap { icmp : accept, ipv6-icmp : accept }
  }
}
R
nft_case vmap-opens <<'R'
table inet filter {
  map by_card { type ifname : verdict; elements = { "wlan0" : accept, "lo" : accept } }
  chain input { type filter hook input priority filter; policy drop; iifname vmap @by_card; }
}
R
nft_case two-chains <<'R'
table inet open {
  chain input { type filter hook input priority -10; policy accept; accept; }
}
table inet shut {
  chain input { type filter hook input priority 0; policy drop; ct state established accept; }
}
R
nft_case dormant <<'R'
table inet filter {
  flags dormant
  chain input { type filter hook input priority filter; policy drop; ct state established accept; }
}
R
nft_case other-hooks <<'R'
table inet filter {
  chain forward { type filter hook forward priority filter; policy drop; }
  chain output { type filter hook output priority filter; policy drop; }
}
table ip nat {
  chain input { type nat hook input priority 100; policy accept; }
}
R
nft_case some-drops <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy accept;
    ct state invalid drop
    tcp dport { 23, 445 } drop
    limit rate over 10/second drop
    iifname "eth0" drop
    fib saddr . iif oif missing drop
  }
}
R
nft_case fail2ban <<'R'
table inet f2b-table {
  set addr-set-sshd { type ipv4_addr; elements = { 192.0.2.9 } }
  chain f2b-chain { type filter hook input priority filter - 1; policy accept;
    tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
  }
}
R
nft_case limit-accepts <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy drop; limit rate 100/second accept; }
}
R
nft_case not-loopback <<'R'
table inet filter {
  chain input { type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname != "lo" drop
  }
}
R
nft_case libvirt <<'R'
table ip libvirt_network {
  chain forward { type filter hook forward priority filter; policy accept;
    counter jump guest_cross
    counter jump guest_input
    counter jump guest_output
  }
  chain guest_output { ip saddr 192.168.122.0/24 iif "lo" counter accept; iifname "virbr0" counter reject; }
  chain guest_input { oifname "virbr0" ip daddr 192.168.122.0/24 ct state established,related counter accept; oifname "virbr0" counter reject; }
  chain guest_cross { iifname "virbr0" oifname "virbr0" counter accept; }
  chain guest_nat { type nat hook postrouting priority srcnat; policy accept;
    ip saddr 192.168.122.0/24 ip daddr 224.0.0.0/24 counter return
    meta l4proto tcp ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter masquerade to :1024-65535
  }
}
R

ipt_case() { # name, commands: both views of what iptables-nft, then iptables-legacy made
  unshare -n bash -c 'eval "$1"; nft -j list ruleset >"$2.json" 2>/dev/null
    iptables-save >"$2.v4"; ip6tables-save >"$2.v6"' - "$2" "$out/iptables-nft-$1"
  unshare -n bash -c 'iptables() { iptables-legacy "$@"; }; ip6tables() { ip6tables-legacy "$@"; }
    eval "$1"; iptables-legacy-save >"$2.v4"; ip6tables-legacy-save >"$2.v6"' - "$2" "$out/iptables-legacy-$1"
}
laptop='for t in iptables ip6tables; do
  $t -P INPUT DROP; $t -A INPUT -i lo -j ACCEPT
  $t -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  $t -A INPUT -p tcp -m tcp --dport 22 -m comment --comment "from \"home\" -j ACCEPT" -j ACCEPT
  $t -A INPUT -p tcp -m multiport --dports 80,443,8000:8010 -j ACCEPT
  $t -A INPUT -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "in: "
done; iptables -A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT; ip6tables -A INPUT -p ipv6-icmp -j ACCEPT'
ipt_case laptop "$laptop"
ipt_case v4-only 'iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT'
ipt_case reject-at-end 'for t in iptables ip6tables; do $t -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT; $t -A INPUT -i lo -j ACCEPT; $t -A INPUT -j REJECT; done'
ipt_case all-local 'for t in iptables ip6tables; do $t -P INPUT DROP; $t -A INPUT -m addrtype --dst-type LOCAL -j ACCEPT; done'
ipt_case unknown-match 'for t in iptables ip6tables; do $t -P INPUT DROP; $t -A INPUT -m statistic --mode random --probability 0.5 -j ACCEPT; done'
ipt_case docker 'iptables -P FORWARD DROP; for c in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables -N $c; done
  iptables -A FORWARD -j DOCKER-USER; iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
  iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -A FORWARD -o docker0 -j DOCKER
  iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP; iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN; iptables -A DOCKER-USER -j RETURN'
ipt_case libvirt 'iptables -N LIBVIRT_INP; iptables -A INPUT -j LIBVIRT_INP
  iptables -A LIBVIRT_INP -i virbr0 -p udp -m udp --dport 53 -j ACCEPT; iptables -A LIBVIRT_INP -i virbr0 -p tcp -m tcp --dport 67 -j ACCEPT'

# ufw as it sets itself up, with Debian's defaults, and with IPv6 left out.
ufw_case() { # name, value of IPV6, commands; /etc is a throw-away copy
  unshare -n -m bash -c 'set -e; d=$(mktemp -d); mount -t tmpfs none "$d"; mkdir "$d/up" "$d/work"
    mount -t overlay none -o "lowerdir=/etc,upperdir=$d/up,workdir=$d/work" /etc
    sed -i "s/^IPV6=.*/IPV6=$2/" /etc/default/ufw
    ufw --force enable >/dev/null; eval "$3"
    nft -j list ruleset >"$1.json" 2>/dev/null; iptables-save >"$1.v4"; ip6tables-save >"$1.v6"
    ufw status verbose >"$1.status"' - "$out/ufw-$1" "$2" "$3" || echo "ufw $1: not captured"
}
ufw_case default yes 'ufw allow ssh >/dev/null'
ufw_case no-ipv6 no 'true'
ufw_case allow-incoming yes 'ufw default allow incoming >/dev/null'
unshare -n ufw status verbose >"$out/ufw-inactive.status" || true

# firewalld in namespaces with a message bus of its own.
firewalld_case() { # name, firewall-cmd commands after the start
  unshare -n -m bash -c 'set -e; mount -t tmpfs none /run; mkdir -p /run/dbus /run/lock; ip link set lo up
    e=$(mktemp -d); cp -a /etc/firewalld "$e/"; mount --bind "$e/firewalld" /etc/firewalld
    dbus-daemon --system --fork --print-pid >/run/bus.pid
    firewalld --nofork --nopid >/dev/null 2>&1 & f=$!
    for i in $(seq 60); do firewall-cmd --state >/dev/null 2>&1 && break; sleep 0.5; done
    eval "$2"
    nft -j list ruleset >"$1.json"; firewall-cmd --state >"$1.state" 2>&1 || true
    kill $f; kill "$(cat /run/bus.pid)"' - "$out/firewalld-$1" "$2" || echo "firewalld $1: not captured"
}
firewalld_case public 'true'
firewalld_case trusted 'firewall-cmd -q --set-default-zone=trusted'
firewalld_case card-trusted 'firewall-cmd -q --zone=trusted --change-interface=eth0'
firewalld_case workstation 'firewall-cmd -q --add-port=1025-65535/tcp --add-port=1025-65535/udp'
