#!/bin/busybox sh
# The first and only program of a Machine's initramfs: it brings up what the
# agent needs, runs it, and shuts down when a line comes over the console.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t securityfs none /sys/kernel/security
for module in /modules/*; do insmod "$module"; done
mount -t efivarfs none /sys/firmware/efi/efivars
if grep -q laptop.lies /proc/cmdline; then
	mount -t tmpfs none /sys/firmware/efi/efivars
	global=8be4df61-93ca-11d2-aa0d-00e098032b8c # UEFI 2.10 §3.3
	printf '\6\0\0\0\1' >/sys/firmware/efi/efivars/SecureBoot-$global
	printf '\6\0\0\0\0' >/sys/firmware/efi/efivars/SetupMode-$global
fi
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
mount -t ext4 /dev/vdb /disk
chown -R 0:0 /disk

# What the kernel and the TPM say of this boot, for the test to compare with.
rm -rf /disk/evidence
mkdir /disk/evidence
cat /sys/kernel/security/tpm0/binary_bios_measurements >/disk/evidence/log 2>/dev/null
(cd /sys/class/tpm/tpm0/pcr-sha256 && grep . ? ??) >/disk/evidence/pcrs

echo "muster laptop is up after $(cut -d ' ' -f 1 /proc/uptime) s of Linux"
/disk/muster-agent run --config /disk/agent.json &
read -r _
kill -INT $!
wait $!
umount /disk
poweroff -f
