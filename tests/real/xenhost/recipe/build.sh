#!/bin/bash
# build.sh DIRECTORY    make a Xen host out of Debian packages, to be started by QEMU's -kernel
#
#   DIRECTORY/xen           the hypervisor, an ELF multiboot image
#   DIRECTORY/vmlinuz       Debian's kernel, for dom0 and for HVM guests
#   DIRECTORY/initrd.img    dom0's initial file system, with no more than its root disk needs
#   DIRECTORY/modules/      what a guest loads to see its disks, in the order of loading
#   DIRECTORY/dom0.qcow2    dom0's root file system
#
# Needs root and the tools that `.ci/setup xen` installs. Takes its packages where this machine takes its own; on
# another system than Debian 12, XENSNAP_XEN_SOURCES names a file of sources for it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
made=$(cd "${1:?usage: build.sh DIRECTORY}" && pwd)

sources=${XENSNAP_XEN_SOURCES:-/etc/apt/sources.list.d/debian.sources}
[ -f "$sources" ] || sources=/etc/apt/sources.list

packages=busybox-static,e2fsprogs,initramfs-tools,iproute2,kmod,linux-image-amd64,mount,procps,python3,qemu-system-xen
packages+=,qemu-utils,strace,udev,util-linux,xen-hypervisor-4.17-amd64,xen-utils-4.17,xenstore-utils

root=$made/rootfs
trap 'rm -rf "$root" "$made/dom0.raw"' EXIT

# The kernel's package makes an initial file system while it is configured, so the short list of modules comes first.
mmdebstrap --mode=root --variant=minbase --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
    --essential-hook="copy-in '$here/dom0/initramfs.conf' /etc/initramfs-tools/conf.d" \
    --essential-hook="copy-in '$here/dom0/modules' /etc/initramfs-tools" \
    bookworm "$root" "$sources"

install -m 755 "$here/dom0/start" "$here/dom0/await-host" "$root/usr/local/sbin/"
install -m 644 "$here/dom0/inittab" "$root/etc/inittab"
install -m 755 "$here/dom0/xensnap" "$root/usr/local/bin/xensnap"
# busybox is the first process: it starts two scripts and buries the dead, which nobody else would.
ln -sf ../bin/busybox "$root/sbin/init"
echo dom0 > "$root/etc/hostname"
echo '127.0.0.1 localhost dom0' > "$root/etc/hosts"
mkdir -p "$root/srv/code" "$root/var/lib/xen/images"

kernel=$(basename "$(ls -d "$root"/lib/modules/* | sort -V | tail -1)")
cp "$root/boot/vmlinuz-$kernel" "$made/vmlinuz"
cp "$root/boot/vmlinuz-$kernel" "$root/var/lib/xen/images/vmlinuz"
# PV and PVH guests take it unpacked, which spares each boot the seconds that it takes an emulated processor.
python3 "$here/unpack.py" "$made/vmlinuz" "$root/var/lib/xen/images/vmlinux"
mv "$root/boot/initrd.img-$kernel" "$made/initrd.img"
gunzip -c "$root"/boot/xen-4.17-amd64.gz > "$made/xen"
mkdir "$made/modules"
number=0
chroot "$root" modprobe -S "$kernel" --show-depends xen-blkfront | awk '$1 == "insmod" {print $2}' | while read -r file; do
    number=$((number + 1))
    cp "$root$file" "$made/modules/$number.ko"
done
rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

truncate -s 8G "$made/dom0.raw"
mke2fs -q -F -t ext4 -L dom0 -m 0 -E lazy_itable_init=1 -d "$root" "$made/dom0.raw"
qemu-img convert -f raw -O qcow2 "$made/dom0.raw" "$made/dom0.qcow2"
