"""Plain QEMU without Xen as a host: a directory of domain descriptions and their images, on any machine."""
