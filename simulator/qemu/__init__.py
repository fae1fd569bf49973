"""The QEMU of a running domain: the images it has open, points of several disks at one moment, and block jobs."""
