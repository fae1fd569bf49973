"""What each error id means and what to do: for `explain` and for the reference. A test finds ids that are missing.

The message of an error tells what happened where; here stands what it is about, for somebody who meets it at night.
"""

EXPLANATIONS: dict[str, tuple[str, str]] = {
    # The request
    "archive-exists": ("An archive never takes the place of another file.", "Name a file that does not exist."),
    "bad-archive": (
        "A file that was to be imported is no archive of a snapshot, or not whole: a member has not its place or sum.",
        "Copy it once more and compare `b2sum` of both; or make it anew with `xensnap export`.",
    ),
    "bad-description": (
        "A description of a domain is none, or is of another machine than the archive's.",
        "Give libxl's JSON on Xen and simulated hosts, TOML on the host qemu:DIR, with all disks of the archive.",
    ),
    "bad-config": (
        "The configuration file of a snapshot breaks the syntax of xl.cfg. The messages are xl's own.",
        "Correct the lines that are named; `create --print-config` shows how today's words look.",
    ),
    "bad-domain-config": ("xl cannot read the domain's configuration file.", "Correct it; its words are told."),
    "bad-domain-file": (
        "The description of a domain of the host qemu:DIR is wrong.",
        "Correct the file that is named.",
    ),
    "bad-configuration": ("A configuration file says something wrong; file and place are told.", "Correct it."),
    "no-such-policy": ("No configuration file has a retention policy of this name.", "See `xensnap config`."),
    "bad-disk": (
        "The value of --disk does not say what is to be done with which disk.",
        "Write VDEV=internal, VDEV=external, VDEV=external:PATH or VDEV=skip.",
    ),
    "bad-disk-spec": (
        "A disk specification cannot be read as xl reads it.",
        "See xl-disk-configuration(5); the message points at the place.",
    ),
    "bad-domain-name": ("A domain cannot have this name.", "Use letters, digits, dots, dashes and underscores."),
    "bad-host": ("--host or XENSNAP_HOST names no kind of host.", "Use xen, qemu:DIR, sim or sim:DIR."),
    "foreign-host": (
        "A replay capsule names a host or a tool that is somebody's code; a file does not get to choose what is run.",
        "Name it with --host or --tool, if you trust it, or another one.",
    ),
    "bad-name": (
        "A name becomes part of file names and a tag in images: it must be safe as the one and short enough for both.",
        "Use 1 to 200 bytes without '/', control characters or a leading '.' or '-'.",
    ),
    "bad-plan": (
        "The file given to `apply` is no plan of this version.",
        "Make a new one with --dry-run --json; plans are not kept across versions.",
    ),
    "bad-size": ("A number of bytes that no disk can have.", "Use whole sectors of 512 bytes, such as 64k or 8M."),
    "bad-snapshot-config": ("A file that is to be a snapshot's configuration cannot be one.", "Name the right file."),
    "bad-tool": (
        "There is no such tool for a machine of the kit.",
        "Say --tool MODULE:FACTORY, and be able to import it.",
    ),
    "bad-text": ("An argument is no UTF-8 or holds a zero byte, and cannot stand in a record.", "Spell it in UTF-8."),
    "beyond-the-end": ("The disk ends before that place.", "Name a place on the disk."),
    "config-is-record": (
        "The file is JSON, such as the record that a snapshot has in the store, not a configuration for a new one.",
        "Use `import-xml` for a record. To write a configuration, `create --print-config` gives an example.",
    ),
    "config-is-xml": ("The file is libvirt's XML.", "Read it with `xensnap import-xml`."),
    "bad-domain-xml": (
        "The file is no description of the snapshot's domain as libvirt writes it.",
        "Use what `virsh dumpxml DOMAIN` prints.",
    ),
    "bad-record": (
        "A JSON file that was to be taken in is no record as the implementation of 2014 wrote them.",
        "The message has the place. Records of ours are read from the store, where they belong.",
    ),
    "bad-snapshot-xml": (
        "The file is no description of a snapshot as libvirt writes it.",
        "Use what `virsh snapshot-dumpxml DOMAIN NAME` prints.",
    ),
    "clone-needs-external": (
        "A linked clone stands on the images that its snapshot has frozen, and an internal snapshot has frozen none.",
        "Make copies with --full, or clone an external snapshot.",
    ),
    "store-not-trusted": (
        "Somebody else could have written what is in the store, and a journal and a memory file are obeyed by root.",
        "Find out who; what is yours, `chown` and `chmod go-w`. Nothing is done to the domain meanwhile.",
    ),
    "store-exists": (
        "There are snapshots of a domain with this UUID, and the host does not know the domain any more.",
        "Use --new-uuid, or move the directory away that is named.",
    ),
    "not-portable": (
        "The description of a domain in an archive names what only the host has that it comes from: files, devices.",
        "Give a description for this host with --config, or go without them: --accept not-portable.",
    ),
    "another-domain": (
        "The description of a snapshot names another domain than the one it was to be recorded for.",
        "Import it for its own domain; a domain that has a new UUID needs the new one in the file.",
    ),
    "held-already": (
        "The tag or the frozen image that is described belongs to a snapshot that is recorded already.",
        "Rename that snapshot if it is to be called differently.",
    ),
    "not-as-recorded": (
        "A snapshot that is recorded was to be stored with something else than its description changed.",
        "Change the description alone; what was taken stays what it was.",
    ),
    "part-of-a-snapshot": (
        "Some disks of a snapshot were to be deleted, and others not.",
        "Name all of its disks: a snapshot is deleted as a whole.",
    ),
    "told-twice": ("Two descriptions are of one snapshot, or one has a disk twice.", "Give each once."),
    "parent-loop": ("The descriptions of snapshots make one its own ancestor.", "Correct their parents."),
    "tag-not-unique": (
        "Several internal snapshots of an image have one tag, so that nobody can say which is meant.",
        "Delete the others, or rename them, with the tool that made them.",
    ),
    "no-such-overlay": (
        "A snapshot is described whose overlay is not in the chain of its disk.",
        "Look with `qemu-img info --backing-chain`; only what the disk stands on can be recorded.",
    ),
    "conflict": (
        "The configuration file and the options, or two lines of the file, say different things.",
        "Let one of them say it.",
    ),
    "no-such-effect": ("The operation has fewer effects than the number to die at.", "Give a smaller number."),
    "uuid-taken": ("A simulated domain has this UUID already.", "Give another."),
    "configuration-differs": (
        "The memory of a snapshot is that of one machine, and the configuration asked for makes another one.",
        "Only name, targets of disks, bridges and actions on events may differ; or leave the memory: --disks-only.",
    ),
    "configuration-disks": (
        "The configuration that a domain is to get has other disks than the domain.",
        "Attach or detach disks first, or correct the file.",
    ),
    "configuration-moved": ("The configuration file was changed while it was read.", "Try again."),
    "configuration-of-another": (
        "The configuration file describes a domain with another UUID.",
        "Name the right file, or correct its UUID.",
    ),
    "configuration-unknown": (
        "The record of a snapshot does not tell the configuration that its memory was saved with.",
        "Revert without --keep-config and --use-config, or with --disks-only.",
    ),
    "contradiction": ("Two options contradict each other.", "Give one of them."),
    "domain-missing": ("A snapshot was asked for without its domain.", "Name the domain first."),
    "name-missing": ("The verb works on one snapshot, and none was named.", "`xensnap list DOMAIN` shows the names."),
    "no-retention-rule": (
        "A retention policy without any rule keeps nothing, so it would delete everything.",
        "Give at least one --keep-… option. To delete everything: `delete --all`.",
    ),
    "no-such-risk": (
        "--accept takes the id of one risk that this very plan has, and a refusal has named. There is no word for all.",
        "Copy the id from the refusal; leave --accept out where nothing was refused.",
    ),
    "not-simulated": ("`sim` works on simulated hosts only.", "Say --host sim or --host sim:DIR."),
    "pin-is-over": ("A pin until a time that has passed protects nothing.", "Name a time to come, or none."),
    "relative-path": ("A simulated host has no working directory.", "Give the path from the root."),
    "too-many-words": ("`create` takes one domain, and at most one configuration file before it.", "One at a time."),
    "two-files": ("Two configuration files were given.", "Give one of them."),
    "two-names": ("The name was given twice, and differently.", "Give it once."),
    "two-plans": (
        "`revert --save-current` is two operations, each with a plan of its own, and a plan file holds one.",
        "Plan `create` and `revert` one after the other, or run it without a plan file.",
    ),
    "unreadable-file": ("A file that was named cannot be read.", "Look at what it is, and at its owner and its mode."),
    "usage": ("The command line cannot be understood.", "See --help of the verb."),
    "which-snapshots": (
        "It is not clear which snapshots are to be deleted.",
        "Name one, or say --all, or --older-than and --keep-last; not two of these.",
    ),
    # What is not there
    "domain-not-found": ("No domain has this name, UUID or domid.", "`xensnap list` shows the domains there are."),
    "disk-not-found": ("The domain has no disk of this name.", "`xensnap info DOMAIN` shows its disks."),
    "image-not-found": ("There is no image at this path.", "Put it back, or let the domain use the right one."),
    "no-host": (
        "Nothing says which host to work on, and nothing is simulated unasked on a machine that may be a Xen host.",
        "Give --host, or set XENSNAP_HOST.",
    ),
    "world-too-large": (
        "The file of a simulated host would become larger than is read again; the command has changed nothing.",
        "Write less to its disks, put smaller files there, or make the likeness of a smaller host.",
    ),
    "no-simulated-host": ("There is no simulated host in that directory.", "Make one: xensnap sim init."),
    "no-such-disk": ("The domain has no disk of this name.", "`xensnap info DOMAIN` shows its disks."),
    "missing-package": ("An optional package is not installed.", "Install it; the message names it."),
    "no-scheduler": ("No Dask scheduler answers there.", "Look at the address, and whether it runs."),
    "no-such-case": ("There is no conformance case of this name.", "See `xensnap conformance list`."),
    "no-such-error": ("There is no error of this id.", "`xensnap explain` lists them all."),
    "no-such-file": ("There is no such file.", "Look at the path."),
    "no-such-host": ("The directory of the host is not there.", "Look at the path after `qemu:`."),
    "no-such-image": ("The domain's description names an image that is not there.", "Correct the description."),
    "no-such-job": ("QEMU knows no block job of that id: it has ended.", "Nothing has to be done."),
    "no-such-snapshot": ("The domain has no snapshot of this name.", "`xensnap list DOMAIN` shows the names."),
    "not-found": ("What was named is not there.", "Look at the name."),
    "not-in-chain": ("An image is not below the other, so it cannot be merged into it.", "`xensnap chain show`."),
    "snapshot-not-in-image": (
        "The image has no internal snapshot of this tag and id: somebody else has deleted it.",
        "Compare `qemu-img snapshot -l` with `xensnap info`.",
    ),
    # Somebody else is at work
    "busy": ("Somebody else works on the same domain or host.", "Wait, or give --wait; the message says who."),
    "domain-exists": (
        "A domain of this name or UUID is there already.",
        "Look at it first; `import --new-uuid --name NAME` makes one beside it.",
    ),
    "image-exists": ("An image of this name is there already.", "Choose another name, or another directory."),
    "exists-already": ("What was to be made is there already.", "Use it, or remove it first."),
    "image-open": (
        "A process has the image open. QEMU under Xen takes no lock, so writing now would destroy data.",
        "End that process; the message names it.",
    ),
    "job-unnoticed": (
        "A block job in QEMU has ended, and nobody has taken note: QEMU 7.2 crashes when it is asked for images then.",
        "`xensnap recover DOMAIN` for a job of ours; for another one QMP's `job-dismiss`.",
    ),
    "locked": ("Another xensnap works on this domain.", "Wait, or give --wait. A dead one holds no lock."),
    "monitor-busy": ("QEMU serves one monitor client at a time, and another one holds it.", "End that client."),
    "name-taken": ("Something of this name is there already.", "Choose another name, or --replace a snapshot."),
    "overtaken": (
        "Another process worked on the domain at the same time: somebody had removed the lock file. This one stopped.",
        "`xensnap log` and `xensnap doctor` tell what is true. Never remove a lock file: a dead process holds no lock.",
    ),
    "plan-is-stale": (
        "The domain is not what it was when the plan was made, so the plan may do something else than was shown.",
        "Make a new plan and read it.",
    ),
    "qemu-not-asked": (
        "The QEMU of the running domain cannot be asked which images it writes to.",
        "Let go of its monitor; if QEMU has died, destroy the domain.",
    ),
    "recovery-due": ("An interrupted operation comes first.", "Run `xensnap recover DOMAIN`."),
    "running-already": ("The domain runs already.", "Use it as it is."),
    "still-dying": (
        "The domain is being built or ended just now, or whoever did so has died and left it so.",
        "Wait a moment. If it stays so: `xensnap domain stop DOMAIN`, then start it.",
    ),
    "save-under-way": ("Another save of this guest is under way.", "Wait until it has ended."),
    # Refused: the snapshot cannot be taken
    "ambiguous-domain": (
        "The word means several domains, since a name can be a number.",
        "Say the UUID.",
    ),
    "backing-format-missing": (
        "An image names its backing file, but not in which format that is. Probing it would let a guest choose.",
        "If you know it: qemu-img rebase -u -F FORMAT -b FILE IMAGE.",
    ),
    "backing-not-a-file": ("An image stands on something that is no file here.", "Rebase it onto a plain file."),
    "disk-not-open": ("The running QEMU does not have this disk open, so no point of it can be taken.", "See its log."),
    "domain-is-off": ("This can only be done to a domain that runs.", "Start it first."),
    "domain-is-on": ("This host can only work on domains that are off.", "Shut it down first."),
    "domain-state": ("The domain is in a state in which it cannot be snapshotted.", "Let it run, or destroy it."),
    "cannot-see-openers": (
        "Not all processes of the machine can be seen, so nobody can tell who has an image open.",
        "Work as root, outside of containers.",
    ),
    "has-bitmaps": (
        "The image holds dirty bitmaps. qemu-img makes no internal snapshot of such an image active again.",
        "Use --type external, or remove them: qemu-img bitmap --remove.",
    ),
    "has-data-file": ("The image keeps its data in another file, of which no point can be kept.", "--type external."),
    "hook-failed": (
        "A program of the operator failed or took too long, and its hook says that nothing may be done then.",
        "Look at what the program says; `xensnap config` shows all hooks.",
    ),
    "image-corrupt": ("The image is marked corrupt.", "Repair a copy of it: qemu-img check -r all."),
    "image-encrypted": ("The image is encrypted, and its key is not ours to handle.", "Leave the disk out."),
    "image-open-twice": (
        "QEMU has one image open twice for writing; a transaction over both would abort QEMU 7.2.",
        "Let the guest unplug its emulated disks first, as PV drivers do.",
    ),
    "image-replaced": (
        "The file that QEMU has open is no longer the one of that name: somebody replaced it.",
        "Copy what the guest has out of it before you stop it.",
    ),
    "image-resized": (
        "A snapshot inside an image that was resized since cannot be copied out while a guest writes to the image.",
        "Shut the guest down meanwhile.",
    ),
    "image-shared": (
        "The image, or one below it, is used by another domain or disk, which would see what is done here.",
        "Give each an image of its own.",
    ),
    "image-unreadable": ("The image cannot be read as what it claims to be.", "See `qemu-img info` and the message."),
    "kind-is-sticky": (
        "Along one chain all snapshots are of one kind. Mixed ones end in snapshots that nobody can delete.",
        "Use the kind that is there, or delete those snapshots first.",
    ),
    "cannot-quiesce": (
        "The guest cannot be asked to make its file systems quiet: it does not run, or the host has no way to ask.",
        "Leave out --quiesce, or shut the guest down first.",
    ),
    "memory-exists": ("The file that the memory was to go to exists already.", "Name a file that does not exist."),
    "needs-memory": ("The option is about memory, and only disks are to be snapshotted.", "Leave it out."),
    "no-immutable-flag": (
        "The file system keeps no immutable flag, so nothing can keep root from starting a guest on a frozen image.",
        "Keep images on ext4, xfs or btrfs; as root.",
    ),
    "no-current-snapshot": (
        "The domain is at none of its snapshots.",
        "Name one: `xensnap list` shows which there are.",
    ),
    "no-external-snapshots": (
        "The host cannot switch a disk to another image, which going back to an external snapshot does.",
        "Import the archive as a domain of its own, or use another host.",
    ),
    "no-internal-snapshots": ("Images of this format hold no internal snapshots.", "Use --type external."),
    "needs-live": ("How long a guest may stand still is asked of a live save only.", "Use --live, too."),
    "no-downtime-limit": (
        "The host decides when it stops a guest for the end of a live save: Xen after five rounds, TCG after one.",
        "Leave out --max-downtime.",
    ),
    "not-converging": (
        "The guest changes its memory faster than it can be written within the time that it may stand still.",
        "Allow more with --max-downtime, leave it out, or let the guest rest.",
    ),
    "no-live-save": (
        "The memory of this guest cannot be copied while it runs.",
        "Leave out --live. Or let the guest stand still while it is saved: --accept no-live-save.",
    ),
    "no-memory": ("This host cannot save or restore the memory of a guest.", "Use --disk-only."),
    "no-space": ("The file system has less room than the operation may need at worst.", "Make room first."),
    "no-such-directory": ("The directory that something is to go to is not there.", "Make it, or name another."),
    "not-qcow2": ("Only qcow2 images hold internal snapshots.", "Use --type external."),
    "not-whole-sectors": ("Disks are made of sectors of 512 bytes.", "Give a multiple of 512."),
    "nothing-to-snapshot": ("The domain has no writable disk that could be covered.", "See `xensnap check DOMAIN`."),
    "one-point-each": ("One transaction takes one point of each disk.", "Take them one after the other."),
    "overlay-exists": ("The file for an overlay exists already.", "Name a new file, or --reuse-external an empty one."),
    "overlay-not-usable": (
        "An overlay that exists can be gone on in only if it is empty, of the disk's size, and stands on its image.",
        "Make it with qemu-img create -f qcow2 -F FORMAT -b IMAGE, or let xensnap make one.",
    ),
    "overlay-not-empty": ("The file for an overlay is not empty.", "Name another."),
    "paused-guest": ("A guest that is paused cannot be saved here.", "Unpause it, or use --disk-only."),
    "refcounts-too-narrow": ("The image counts references in too few bits for one more snapshot.", "--type external."),
    "quiesce-with-memory": (
        "A checkpoint holds what the guest has not written yet, so its file systems need not be quiet.",
        "Leave out --quiesce, or the memory: --disk-only.",
    ),
    "runs-on-another": (
        "The running QEMU writes to other images than the domain's configuration names.",
        "Restart the guest, or correct its configuration.",
    ),
    "skips-writable-disk": (
        "A domain snapshot covers every writable disk: old memory over a newer disk destroys its file system.",
        "Use --disk-only, which has no memory.",
    ),
    "table-full": ("The image holds as many internal snapshots as qcow2 allows.", "Delete some of them."),
    "tag-taken": ("The image has a snapshot of this tag already.", "Choose another name."),
    "tag-too-long": ("A tag in an image has at most 255 bytes.", "Choose a shorter name."),
    "unsupported-backend": (
        "The disk is served by a driver in the kernel or by tapdisk, of which QEMU knows nothing.",
        "Attach it with backendtype=qdisk, or leave it out of a disk snapshot.",
    ),
    "unsupported-format": ("Images of this format are not supported.", "Convert it: qemu-img convert -O qcow2."),
    "unsupported-on-host": ("This host cannot do that.", "`xensnap capabilities` tells what each host can do."),
    "zero-byte": ("A name with a zero byte cannot be told to any program.", "Use another name."),
    # Refused: the snapshot cannot be reverted to or deleted
    "decided-already": (
        "The operation is past its point of no return: what it gives up is given up.",
        "Run `xensnap recover` without --abort.",
    ),
    "disk-changed": ("The disk is another image now than at the snapshot.", "Let the domain use that one again."),
    "disk-gone": ("The domain does not have this disk any more.", "Attach it again, or revert --only others."),
    "disk-not-covered": (
        "The domain has a writable disk that the snapshot with its memory does not cover.",
        "Detach it first, or revert with --disks-only.",
    ),
    "disk-not-in-snapshot": ("The snapshot does not cover this disk.", "See `xensnap info DOMAIN NAME`."),
    "holds-snapshots": (
        "The layer that the revert would give up holds internal snapshots, which would be lost.",
        "Delete them with qemu-img if nobody needs them.",
    ),
    "image-changed": (
        "The image is not what the snapshot left: somebody else has worked on it, so it may hold anything.",
        "Look at it with qemu-img before you do anything; a copy from a backup can be put back under its name.",
    ),
    "image-missing": ("An image that the snapshot needs is not there.", "Put it back under its name."),
    "memory-not-trusted": (
        "Somebody else could have written a memory file outside of the store, and what its head says is obeyed.",
        "Find out who; what is yours, `chown` and `chmod go-w`. Or go back with the disks only: --disks-only.",
    ),
    "memory-missing": ("The memory file of the snapshot is not there or empty.", "Put it back, or --disks-only."),
    "no-children": ("There are no snapshots below this one.", "Delete the snapshot itself."),
    "not-pinned": ("The snapshot is not pinned.", "Nothing has to be done."),
    "nothing-to-delete": ("No snapshot is old enough, or there is none.", "Nothing has to be done."),
    "nothing-to-empty": ("Nothing that it speaks of is in the trash.", "`xensnap trash list` shows what is there."),
    "nothing-to-prune": ("The policy keeps every snapshot.", "Nothing has to be done."),
    "next-start-elsewhere": (
        "A start from the operator's own file writes to the image that was frozen, and destroys what stands on it.",
        "Keep images where files can carry the immutable flag. Or change the file at once, and --accept it.",
    ),
    "pinned": (
        "Somebody has pinned the snapshot, so that nobody deletes it by mistake.",
        "Ask the owner; then `xensnap unpin`, or --accept pinned.",
    ),
    "pinned-by-another": ("The snapshot is pinned by somebody else.", "Ask the owner."),
    "plan-altered": ("The plan is not the one that was made for its request.", "Make a new plan."),
    "refused": ("Nothing was touched; the reasons are told with it.", "Each reason has an id of its own."),
    "wrong-host": ("The plan was made for another host.", "Apply it there."),
    # Failed
    "command-failed": ("A simulated tool failed as it was told to.", "This is a fault of the simulation's making."),
    "state-damaged": (
        "What the store knows of the domain as a whole cannot be read; records and images are not touched by that.",
        "`xensnap doctor DOMAIN --repair` makes it anew from the records.",
    ),
    "damaged": (
        "A file of ours or an image is not what it should be; the message names the place in it.",
        "Put back the copy: records stand beside the images, too (*.xensnap.json).",
    ),
    "disk-not-opened": ("QEMU could not open a disk, and the guest would run without it.", "Look at the image."),
    "error": ("Something went wrong.", "The message tells more."),
    "failed": ("It was tried and did not work; the message says what is true now.", "Remove the cause, try again."),
    "file-failed": (
        "The operating system refused a file operation; its words are in the message.",
        "Look at the file, and at the file system that it is on.",
    ),
    "foreign-bytes": (
        "A file has, or would need, what a simulated host does not keep: bitmaps, a machine's state, raw bytes.",
        "Use another file, or a plain copy that `qemu-img convert -O qcow2` made.",
    ),
    "foreign-simulator": (
        "Another distribution named `simulator` is installed over ours.",
        "pip uninstall simulator, and install xensnap again.",
    ),
    "guest-gone": ("The guest ended while it was worked on.", "Try again with the domain as it is now."),
    "internal-error": ("A mistake of ours.", "Please report it, with what --debug prints."),
    "interrupted": (
        "Somebody pressed Ctrl-C; the message says how the operation ended. Or the doctor found one without an end.",
        "Nothing, or `xensnap recover`.",
    ),
    "job-failed": (
        "A block job in QEMU ended with an error, or must not end.",
        "`xensnap chain show DOMAIN`; then try again.",
    ),
    "job-stalled": (
        "A block job in QEMU came no nearer to its end: the guest writes faster than its disk is copied. It was ended.",
        "Nothing is lost; `xensnap chain compact` when the guest writes less, or when it is off.",
    ),
    "monitor-gone": ("The QEMU of the domain is gone.", "Look at the domain; if it still runs, end it."),
    "guest-not-put-back": ("The guest could not be put back to where it was.", "Run `xensnap recover`."),
    "guest-silent": (
        "A guest that has to suspend itself, to have its memory saved, did not: it hangs, or stands still.",
        "`xensnap domain stop`, if it hangs; then revert.",
    ),
    "needs-domain-config": (
        "To start the domain again its own configuration file is needed, and nobody has said which that is.",
        "Give it with --domain-config.",
    ),
    "not-a-save-file": ("The memory file is none that the toolstack has written.", "Put the right file back."),
    "not-destroyed": ("The domain is still there although it was destroyed.", "Look at what xl says."),
    "not-empty": ("A file that was to be filled holds something already.", "Give an empty file."),
    "not-paused": ("The guest was to be paused, and is not.", "Look at the domain; then `xensnap recover`."),
    "not-renamed": ("The domain was not renamed.", "Look at what xl says."),
    "qemu-failed": ("QEMU did not start.", "The message has its words."),
    "qemu-hangs": ("A QEMU cannot even be killed: it waits for its storage.", "Look at the host's storage."),
    "stream-broken": ("The stream of a live save ended early.", "The guest is as before; try again."),
    "watcher-not-replaced": (
        "No program of ours could be started to watch the guest in the place of the xl that was lost.",
        "The message says why; `xenstore-watch`, which is needed, comes with Xen's tools.",
    ),
    "watcher-not-stopped": ("The daemon that watches the guest could not be stopped for the save.", "Try again."),
    "xl-failed": ("xl ended with an error; its own words are in the message.", "Search for those words."),
    "no-such-program": ("A tool is not installed.", "Install it; the message names it."),
    "not-as-asked": ("The domain is not in the state that was asked for.", "Look at it."),
    "not-done": ("A tool said that it had done its work, and had not.", "Try again; look at the host if it stays."),
    "not-finished": (
        "The operation is decided, but could not be finished. Nothing is lost; `recover` goes on where it stopped.",
        "Remove the cause, then run `xensnap recover`.",
    ),
    "not-running": ("The domain does not run.", "Start it, or look at it again."),
    "not-shown": ("The work was done, but the result could not be printed.", "See `xensnap list`."),
    "not-started": ("A program was started and has ended at once.", "Look at its log."),
    "not-undone": (
        "The operation failed, and putting things back failed, too. The journal knows where it stands.",
        "Remove the cause, then run `xensnap recover`.",
    ),
    "qmp-answer": ("QEMU has answered what makes no sense.", "Look at the domain's QEMU; end it if in doubt."),
    "qmp-error": ("QEMU refused a command; its own words are in the message.", "Search for those words."),
    "reply-lost": ("QEMU took a command, and no answer came.", "`xensnap recover` looks and goes on."),
    "restore-failed": ("The guest could not be restored from its memory.", "The message has the tool's words."),
    "agent-failed": (
        "No agent answers in the guest, or it could not freeze the file systems.",
        "Install and start a guest agent, or use --quiesce try.",
    ),
    "left-frozen": (
        "The guest was asked to freeze its file systems, and nobody knows whether they are thawed.",
        "`xensnap recover` when its agent answers; or from within: fsfreeze -u.",
    ),
    "not-quiet": (
        "The guest went on writing before its disks were taken, and a quiet one was required.",
        "Try again, or leave out --quiesce.",
    ),
    "save-failed": ("The memory could not be saved; the guest is as before.", "The message has the tool's words."),
    "shutdown-timeout": ("The guest was asked to power off, and still runs.", "Wait, or destroy it."),
    "start-failed": ("The domain could not be started.", "The message has the tool's words."),
    "still-paused": ("The guest does not go on.", "`xensnap recover`; else unpause it by hand."),
    "still-running": ("The domain still runs although it was to end.", "Wait longer, or destroy it."),
    "still-suspended": ("The guest is still suspended after a save.", "`xensnap recover`."),
    "timed-out": ("A program was ended because it took too long.", "`xensnap recover` looks what it did."),
    "tool-failed": ("A tool ended with an error; its own words are in the message.", "Search for those words."),
    "unknown-outcome": (
        "Something was asked for, and no answer says whether it happened.",
        "`xensnap recover` looks at the host and goes on from what is true.",
    ),
    "wrong-disk": ("The restored guest has another image open than it should.", "`xensnap recover`."),
    "wrong-image": ("QEMU has another image open than the domain's configuration names.", "Restart the guest."),
    # The trash, and what is taken in or taken back
    "cannot-undo": ("What was last done cannot be taken back.", "The message says what to do the next time."),
    "cannot-finish": (
        "What an interrupted operation needs cannot be had any more, such as the memory of that moment.",
        "`xensnap recover` without --resume undoes it.",
    ),
    "no-such-tag": ("No image of the domain has this tag.", "`qemu-img snapshot -l` lists the tags of an image."),
    "not-in-trash": ("No snapshot of this name is in the trash.", "`xensnap trash list DOMAIN` lists what is."),
    "nothing-to-adopt": ("The snapshot is what its record says.", "Leave it as it is."),
    "nothing-to-undo": ("Nothing has been done to the domain yet.", "There is nothing to take back."),
    # What the doctor finds
    "at-work": ("An xensnap works on the domain; what it has not finished is not looked at.", "Ask later."),
    "base-forgotten": ("An image of ours that others stand on is noted nowhere.", "`xensnap doctor --repair`."),
    "base-gone": ("A hidden base is noted, and is not there.", "`xensnap doctor --repair` forgets it."),
    "chain-broken": (
        "What a disk stands on cannot be followed to its end.",
        "`qemu-img info --backing-chain` shows it.",
    ),
    "copy-differs": ("The copy of a record beside an image is not what the record is.", "`xensnap doctor --repair`."),
    "copy-missing": ("The copy of a record beside an image is gone.", "`xensnap doctor --repair` writes it anew."),
    "copy-of-nobody": ("A copy of a record tells of no snapshot there is.", "`xensnap doctor --repair` removes it."),
    "current-missing": ("The domain is said to be at a snapshot that is not there.", "`xensnap doctor --repair`."),
    "domain-renamed": ("The domain is called something else by now.", "`xensnap doctor --repair` notes the new name."),
    "file-gone": ("A file that we made is gone.", "`xensnap doctor --repair` takes it out of the ledger."),
    "file-replaced": (
        "Another file has the name of one that we made.",
        "`xensnap doctor --repair`: it is never removed.",
    ),
    "flags-stale": (
        "Entries of an image do not say how often a cluster is used: a tool was killed in the middle of a snapshot.",
        "`xensnap doctor --check --repair` while nobody has the image open, and before the guest runs.",
    ),
    "format-not-given": (
        "An overlay does not say in which format its backing file is, and a guest could choose it by what it writes.",
        "`xensnap doctor --repair` while the domain is off.",
    ),
    "guest-suspended": ("A save that died has left the guest suspended.", "`xensnap doctor --repair` lets it go on."),
    "header-written": (
        "The header of an image names another backing file than the guest that runs on it reads from.",
        "Write what the message says that it stood on into the header when the guest is off: `qemu-img rebase -u`.",
    ),
    "hard-linked": (
        "A file in the store has a second name elsewhere. The lock and the journal are not written to then.",
        "Remove the other name: the message says how it is found.",
    ),
    "journal-damaged": (
        "The journal tells of an operation whose beginning cannot be read.",
        "`xensnap doctor --repair` begins anew, and finds what the operation has left.",
    ),
    "journal-incomplete": (
        "The journal does not tell any more what was done last: lines of it cannot be read, or are gone.",
        "`xensnap doctor --repair` notes that. What is done next can be taken back again.",
    ),
    "leaked-clusters": ("Clusters of an image are counted that nothing uses.", "`xensnap doctor --check --repair`."),
    "leftover": ("Something that an operation has left behind.", "`xensnap doctor --repair` removes it."),
    "lock-damaged": (
        "A lock file does not tell who holds the lock.",
        "Wait for the process that has it open: the message names it.",
    ),
    "lock-gone": (
        "The lock file was removed. Whoever holds a lock that has no file any more keeps nobody off.",
        "See that no xensnap is at work; then `xensnap doctor --repair`. Never remove a lock file.",
    ),
    "lock-left": (
        "Who took the lock is gone, and a program that it has started holds it still.",
        "`xensnap recover` waits for that program; the message names it.",
    ),
    "interrupted-of-nobody": (
        "An operation on a domain was interrupted, and the host knows no domain with its UUID any more.",
        "Start the domain again with `uuid=` in its file, then `xensnap recover UUID`; or move its store away.",
    ),
    "lock-of-nobody": (
        "The host knows no domain of this UUID, and its store holds nothing but a lock that nobody holds.",
        "Leave it, or `xensnap doctor --repair`, which takes the lock and removes it.",
    ),
    "memory-changed": ("A memory file is not as long as it was.", "Put it back from a backup; the disks are there."),
    "next-start-differs": (
        "The guest runs on one image and would start from another the next time, as if what it writes had never been.",
        "`xensnap doctor --repair`, or correct the domain's configuration.",
    ),
    "not-a-file": ("Something in the store is no file.", "Find out who put it there, and remove it."),
    "copy-not-trusted": (
        "Somebody else could have written the copy of a record that no snapshot has: nothing is made anew from it.",
        "Look what is in it. What is yours, `chown` and `chmod go-w`; then `xensnap doctor --repair`.",
    ),
    "directory-open": (
        "Others can write to a directory that images are in, and put another file in the place of one.",
        "`chmod o-w` it, or make it sticky, as /tmp is.",
    ),
    "image-in-reach": (
        "An overlay that we made, or the copy of a record, belongs to somebody else, or others may write to it.",
        "Look what is in it; then `chown` and `chmod go-w`.",
    ),
    "open-to-others": ("Others may read or write a file in the store.", "chmod 600; `doctor --repair` does some."),
    "overlay-idle": ("An overlay of ours is used by no disk and no snapshot.", "Attach it, or remove it if unwanted."),
    "overlay-unclaimed": ("An overlay that we made is not in the ledger.", "`xensnap doctor --repair` notes it."),
    "overlay-unknown": (
        "An overlay stands on an image of the domain, and nothing knows of it.",
        "`xensnap doctor --repair` notes it, so that nothing is done to what it stands on.",
    ),
    "parent-circle": ("Snapshots come from one another in a circle.", "`xensnap doctor --repair` cuts it."),
    "parent-missing": ("A snapshot comes from one that is not there.", "`xensnap doctor --repair` makes it a root."),
    "watcher-lost": (
        "The daemon of xl that reboots the guest and cleans up after it is gone; every plain `xl save` ends it.",
        "`xensnap doctor DOMAIN --repair` watches it from now on.",
    ),
    "uuid-changed": (
        "The domain's file has no `uuid=`, so each start gave it a new one; its snapshots are kept under the old.",
        "`xensnap doctor --repair` lets it have them, where its disks are the same; then write its UUID into the file.",
    ),
    "flag-missing": (
        "An image that snapshots need has lost its immutable flag: a start from the operator's file would write to it.",
        "`xensnap doctor DOMAIN --repair` sets it again.",
    ),
    "qemu-silent": ("The QEMU of a domain that runs cannot be asked.", "If it has died, destroy the domain."),
    "record-damaged": ("The record of a snapshot cannot be read.", "`xensnap doctor --repair`, or a backup."),
    "record-lost": ("A snapshot was taken, and its record is gone.", "`xensnap doctor --repair`, or a backup."),
    "record-older-name": (
        "A record has a file name that a document of 2014 gives it, which is read, but not written.",
        "`xensnap doctor --repair` renames it.",
    ),
    "record-twice": ("Two records tell of the same content.", "`xensnap forget` the wrong one."),
    "starts-from-base": (
        "A disk starts from an image that holds a snapshot, and whatever the guest writes changes that.",
        "Shut the domain down, then `xensnap doctor --repair`.",
    ),
    "state-missing": ("What the store knows of a domain as a whole is gone.", "`xensnap doctor --repair`."),
    "tag-missing": ("A tag that a record tells of is gone.", "Put the image back, or delete the snapshot."),
    "tag-replaced": ("A tag was made anew by somebody else.", "`xensnap adopt`, or delete the snapshot."),
    "tag-twice": ("An image has the same tag twice.", "Delete the one that is not ours, by its id."),
    "nothing-to-relocate": ("All images of the disk are in that directory already.", "Nothing has to be done."),
    "unseen-domains": (
        "The snapshots of another domain cannot be read, so nobody knows which images it needs.",
        "Run `xensnap doctor` for that domain.",
    ),
    "next-start-moved": (
        "Somebody has let the domain start from another image since this was planned.",
        "Try again with the domain as it is now.",
    ),
    "no-file": ("An image is a block device, which cannot be copied as a file.", "Copy it by hand."),
    "record-let-go": (
        "The record of a snapshot was taken away by `delete --metadata-only`; nothing protects its content.",
        "`xensnap adopt` takes it back, as long as its content is what it was.",
    ),
    "tag-unknown": ("An image holds a snapshot that no record tells of.", "`xensnap adopt`, or leave it."),
    "unknown-file": ("A file in the store is none of ours.", "Move it elsewhere."),
}
