"""The real Xen host: domains through xl, their disks through QEMU's monitor, images through qemu-img."""
