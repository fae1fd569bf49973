"""What other tools call what xensnap does, and what the hands of their users type before they have read anything.

Names of virsh 9, qm and pct of Proxmox 8, qemu-img, xe, VBoxManage and incus, and habits of the shell. They are no
second way of doing a thing: whoever types one is told ours.
"""

COMMANDS = {
    **dict.fromkeys(("snapshot", "snapshot-create-as", "checkpoint", "savevm", "take"), "create DOMAIN -n NAME"),
    **dict.fromkeys(("ls", "listsnapshot", "listsnapshots", "snapshots", "domblklist"), "list DOMAIN"),
    **dict.fromkeys(("rollback", "restore", "loadvm", "goto", "reset"), "revert DOMAIN NAME"),
    **dict.fromkeys(("delsnapshot", "delvm", "rm", "remove", "del", "snapshot-uninstall"), "delete DOMAIN NAME"),
    **dict.fromkeys(("show", "snapshot-info", "status", "inspect"), "info DOMAIN"),
    **dict.fromkeys(("commit", "merge", "pull", "flatten", "blockcommit", "blockpull"), "chain compact DOMAIN"),
    **dict.fromkeys(("fsck", "repair", "fix"), "doctor DOMAIN"),
    **dict.fromkeys(("gc", "clean", "cleanup", "expire"), "prune DOMAIN --keep-last 3 --dry-run"),
    **dict.fromkeys(("mv", "move", "relocate"), "chain relocate DOMAIN VDEV DIRECTORY"),
    **dict.fromkeys(("start", "stop", "shutdown", "destroy", "pause", "unpause"), "domain --help"),
    **dict.fromkeys(("copy", "cp", "fork"), "clone DOMAIN NAME NEWNAME"),
    **dict.fromkeys(("migrate", "backup", "send"), "export DOMAIN NAME -o FILE"),
    **dict.fromkeys(("protect", "hold", "lock"), "pin DOMAIN NAME"),
    **dict.fromkeys(("unprotect", "release", "unlock"), "unpin DOMAIN NAME"),
    **dict.fromkeys(("abort", "continue", "resume"), "recover DOMAIN"),
    **dict.fromkeys(("history", "events", "journal"), "log DOMAIN"),
    "compact": "chain compact DOMAIN",
    "init": "sim init",
    "version": "--version",
}
"""What stands for a command that we do not have: a command line of ours, less its first word."""

OPTIONS = {
    **dict.fromkeys(("--force", "--yes", "-y"), "A refusal names each risk, and --accept RISK-ID takes that one."),
    **dict.fromkeys(("--running", "--start", "--paused", "--halt", "--leave-paused", "--stopped"),
                    "Say what the guest does afterwards: --then running, --then paused or --then stopped."),
    **dict.fromkeys(("--diskspec",), "Speak of one disk as in --disk xvda=external:/fast/a.qcow2."),
    **dict.fromkeys(("--memspec", "--vmstate", "-m"), "Memory is saved unless --disk-only; --memory PATH says where."),
    **dict.fromkeys(("--no-memory", "--no-vmstate"), "Write --disk-only."),
    **dict.fromkeys(("--atomic",), "Every snapshot is of one moment, on all disks. Leave it out."),
    **dict.fromkeys(("--metadata",), "Write --metadata-only."),
    **dict.fromkeys(("--snapshotname", "--snapname"), "Write -n NAME."),
    **dict.fromkeys(("--domain", "--vmid"), "The domain is a word without an option."),
    **dict.fromkeys(("--print-xml", "--xmlfile"), "`xensnap dumpxml` and `xensnap import-xml` speak libvirt's XML."),
    **dict.fromkeys(("--no-metadata", "--redefine"), "See `delete --metadata-only` and `import-xml`."),
    **dict.fromkeys(("-N", "--dryrun", "--simulate"), "Write --dry-run, or for what a file comes to: --print-config."),
}  # fmt: skip
"""What to do about an option that we do not have."""
