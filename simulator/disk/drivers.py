"""The formats and protocols that QEMU 7.2.22 knows, of which few are modelled: what else is asked for is no mistake."""

DRIVERS = frozenset({
    "blkdebug", "blklogwrites", "blkreplay", "blkverify", "bochs", "cloop", "compress", "copy-before-write",
    "copy-on-read", "dmg", "file", "ftp", "ftps", "gluster", "host_cdrom", "host_device", "http", "https", "iscsi",
    "luks", "nbd", "nfs", "null-aio", "null-co", "nvme", "parallels", "preallocate", "qcow", "qcow2", "qed", "quorum",
    "raw", "rbd", "replication", "snapshot-access", "ssh", "throttle", "vdi", "vhdx", "vmdk", "vpc", "vvfat",
})  # fmt: skip
"""Its `BlockdevDriver`, as `query-qmp-schema` tells."""
