"""What QEMU 7.2.22 has and is not modelled: who asks for it is told so, instead of "has not been found"."""

_NAMES = """
add-fd add_client announce-self balloon block-export-add block-export-del block-latency-histogram-set
block-set-write-threshold block_set_io_throttle blockdev-change-medium blockdev-close-tray
blockdev-create blockdev-insert-medium blockdev-mirror blockdev-open-tray blockdev-remove-medium blockdev-reopen
calc-dirty-rate cancel-vcpu-dirty-limit change-vnc-password chardev-add chardev-change chardev-remove
chardev-send-break client_migrate_info closefd device-list-properties device_add device_del display-reload
display-update drive-mirror dump-guest-memory dumpdtb eject expire_password getfd inject-nmi
input-send-event memsave migrate migrate-continue migrate-incoming migrate-pause migrate-recover
migrate-set-capabilities migrate-set-parameters migrate-start-postcopy migrate_cancel nbd-server-add nbd-server-remove
nbd-server-start nbd-server-stop netdev_add netdev_del object-add object-del pmemsave qom-get qom-list
qom-list-properties qom-list-types qom-set query-acpi-ospm-status query-balloon query-chardev
query-chardev-backends query-colo-status query-command-line-options query-cpu-definitions query-cpu-model-expansion
query-cpus-fast query-current-machine query-dirty-rate query-display-options query-dump
query-dump-guest-memory-capability query-fdsets query-hotpluggable-cpus query-iothreads query-kvm query-machines
query-memdev query-memory-devices query-memory-size-summary query-mice query-migrate query-migrate-capabilities
query-migrate-parameters query-pci query-pr-managers query-replay query-rocker query-rocker-of-dpa-flows
query-rocker-of-dpa-groups query-rocker-ports query-rx-filter query-sev query-sev-attestation-report
query-sev-capabilities query-sev-launch-measure query-sgx query-sgx-capabilities query-spice query-stats
query-stats-schemas query-target query-tpm query-tpm-models query-tpm-types query-uuid query-vcpu-dirty-limit
query-vm-generation-id query-vnc query-vnc-servers query-xen-replication-status query-yank remove-fd replay-break
replay-delete-break replay-seek ringbuf-read ringbuf-write rtc-reset-reinjection screendump send-key set-action
set-numa-node set-vcpu-dirty-limit set_link set_password sev-inject-launch-secret system_reset
system_wakeup trace-event-get-state trace-event-set-state watchdog-set-action x-blockdev-amend x-blockdev-change
x-blockdev-set-iothread x-colo-lost-heartbeat x-debug-block-dirty-bitmap-sha256 x-exit-preconfig x-query-irq
x-query-jit x-query-numa x-query-opcount x-query-profile x-query-ramblock x-query-rdma x-query-roms x-query-usb
x-query-virtio x-query-virtio-queue-element x-query-virtio-queue-status x-query-virtio-status
x-query-virtio-vhost-queue-status xen-colo-do-checkpoint xen-load-devices-state xen-save-devices-state
xen-set-global-dirty-log xen-set-replication yank
"""

_OF_A_DAEMON = """
block-export-add block-export-del block-set-write-threshold blockdev-create blockdev-mirror
blockdev-reopen chardev-add chardev-change chardev-remove chardev-send-break drive-mirror nbd-server-add
nbd-server-remove nbd-server-start nbd-server-stop object-add object-del qom-get qom-list qom-list-properties
qom-list-types qom-set query-chardev query-chardev-backends ringbuf-read ringbuf-write
x-blockdev-amend x-blockdev-change x-blockdev-set-iothread x-debug-block-dirty-bitmap-sha256
"""

NAMES = frozenset(_NAMES.split())
DAEMON_NAMES = frozenset(_OF_A_DAEMON.split())
"""Those that qemu-storage-daemon has."""
