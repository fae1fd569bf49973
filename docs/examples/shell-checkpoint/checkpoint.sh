#!/bin/sh
# Memory and disk of a running guest at one moment, with nothing but xl and qemu-img.
#
#     checkpoint.sh take GUEST NAME      the guest runs on
#     checkpoint.sh back GUEST NAME      the guest is what it was
#
# The guest has one disk, a qcow2 image; /etc/xen/GUEST.cfg describes it. Memory files go to $CHECKPOINTS.
set -eu

if [ $# != 3 ]; then
    echo "usage: checkpoint.sh take|back GUEST NAME" >&2
    exit 2
fi
verb=$1 guest=$2 name=$3
memory=${CHECKPOINTS:-/images}/$guest.$name.save
image=$(xl list -l "$guest" | sed -n 's/.*"pdev_path": "\(.*\)".*/\1/p' | head -n 1)

stop() { printf 'checkpoint: %s\n' "$*" >&2; exit 1; }

[ -n "$image" ] || stop "$guest has no disk, or does not run"
case $verb in
    take)
        # A tag of this name would make the next one ambiguous, and qemu-img takes the older without a word. As long as
        # the guest runs its image is QEMU's alone, so it has to end before anybody looks.
        xl save "$guest" "$memory"
        if qemu-img snapshot -l "$image" | awk '{ print $2 }' | grep -qxF "$name"; then
            xl restore "$memory"
            stop "$guest has a checkpoint $name already; it runs on"
        fi
        if ! qemu-img snapshot -c "$name" "$image"; then
            xl restore "$memory"
            stop "no room for a snapshot; $guest runs on without"
        fi
        xl restore "$memory"
        ;;
    back)
        xl destroy "$guest"
        qemu-img snapshot -a "$name" "$image"
        xl restore "$memory"
        ;;
    *) stop "what is $verb?" ;;
esac
