"""Every word of the 2014 design: where it works now, and the test that tries it. A page of the reference is made of it.

A test is named by its file below `tests`, and its function.
"""

from typing import NamedTuple


class Word(NamedTuple):
    """A word of the design, or a place where it contradicts itself."""

    word: str
    now: str
    test: str


COMMANDS = "cli/test_seed_commands.py::"
FILE = "cli/test_snapshot_config.py::"
FORMAT = "unit/formats/test_snapshot_cfg.py::"
LIBXL = "unit/test_libxl.py::"
RECORD = "unit/formats/test_snapshot_record.py::"
XML = "cli/test_libvirt_xml.py::"

PARTS: dict[str, tuple[Word, ...]] = {
    "Ideas": (
        Word(
            "domain snapshot, checkpoint: memory and disks",
            "`create` of a guest that runs",
            f"{FILE}test_by_its_old_name_a_snapshot_without_a_file_is_internal_with_memory",
        ),
        Word("disk snapshot", "`create --disk-only`", f"{FILE}test_a_file_without_memory_asks_for_the_disks_alone"),
        Word(
            "internal, external, mixed",
            "for each disk",
            f"{FILE}test_one_snapshot_can_be_inside_one_disk_and_below_another",
        ),
        Word(
            "a disk snapshot of a running domain is only crash-consistent",
            "`CONSISTENCY` in `list`",
            f"{COMMANDS}test_list_shows_all_or_one_in_short_or_in_full",
        ),
        Word(
            "whether a domain is snapshotable",
            "`check`, and every refusal before anything is touched",
            "cli/test_looking.py::test_a_check_tells_all_reasons_for_each_disk_and_each_way",
        ),
        Word(
            "one store for xl and libvirt",
            "`dumpxml`, `import-xml`",
            f"{XML}test_lost_records_come_back_in_any_order_and_hold_what_they_held",
        ),
        Word(
            "revert restores to the same state",
            "`revert`, running, paused or off as it was",
            f"{COMMANDS}test_revert_brings_back_disks_and_memory_and_the_state_they_were_in",
        ),
    ),
    "Commands": (
        Word(
            "snapshot-create [configfile] [OPTIONS] domain",
            "`snapshot-create`, `create`; also `-f FILE`",
            f"{FILE}test_the_file_stands_before_the_domain_or_after_f_or_as_one_document_has_it_after",
        ),
        Word(
            "snapshot-create domain",
            "`snapshot-create DOMAIN`: internal, with memory",
            f"{COMMANDS}test_create_with_the_domain_alone_takes_it_for_the_domain",
        ),
        Word(
            "-n NAME",
            "`-n`, `--name`",
            f"{COMMANDS}test_create_takes_its_options_before_the_domain_or_after",
        ),
        Word(
            "-D, --disk-only: internal, all disks but read-only ones",
            "`-D`, `--disk-only`",
            f"{COMMANDS}test_create_disk_only_is_internal_on_all_disks_but_read_only_ones",
        ),
        Word(
            "a conflict of file and options ends the run",
            "exit 2, with all conflicts",
            f"{FILE}test_what_file_and_options_say_differently_ends_the_run_before_anything",
        ),
        Word(
            "snapshot-delete -n NAME domain",
            "`snapshot-delete`, `delete`: memory, tags and record go",
            f"{COMMANDS}test_delete_takes_away_memory_tags_and_record",
        ),
        Word(
            "snapshot-list [-n NAME] [-l|--long] domain [NAME]",
            "`snapshot-list`, `list`",
            f"{COMMANDS}test_list_shows_all_or_one_in_short_or_in_full",
        ),
        Word(
            "snapshot-revert [-n NAME] domain [NAME]",
            "`snapshot-revert`, `revert`",
            f"{COMMANDS}test_revert_brings_back_disks_and_memory_and_the_state_they_were_in",
        ),
        Word(
            "-N, dry run: the parsed file",
            "`--print-config`; `--dry-run` shows the plan",
            f"{FILE}test_print_config_writes_the_file_in_todays_words_and_changes_nothing",
        ),
    ),
    "xl.snapshot.cfg": (
        Word("name", "key `name`", f"{FORMAT}test_all_keys_are_read"),
        Word("description", "key `description`", f"{FORMAT}test_all_keys_are_read"),
        Word("creationtime", "ignored, with a warning", f"{FORMAT}test_i5_a_creation_time_is_told_and_ignored"),
        Word("memory", "key `memory`: yes, no, or a path", f"{FORMAT}test_i10_memory_is_a_truth_or_a_full_path"),
        Word("save", "as `memory`, with a warning", f"{FORMAT}test_i1_save_is_the_old_name_of_memory"),
        Word("type", "key `type`", f"{FORMAT}test_all_keys_are_read"),
        Word("live", "key `live`", f"{FORMAT}test_all_keys_are_read"),
        Word(
            "disk_only",
            "key `disk_only`",
            f"{FORMAT}test_other_versions_name_the_list_of_disks_and_the_kind_differently",
        ),
        Word("disk", "key `disk`, of xl disk specifications", f"{FORMAT}test_i4_an_internal_disk_has_no_target"),
        Word(
            "disks",
            "as `disk`, with a warning",
            f"{FORMAT}test_other_versions_name_the_list_of_disks_and_the_kind_differently",
        ),
        Word("UUID, <domain_uuid>", "replaced in paths", f"{FORMAT}test_the_external_example_is_read"),
        Word(
            "the syntax of xl.cfg",
            "as libxlutil reads it, with its messages",
            "parity/test_libxlutil.py::test_a_configuration_file_is_read_as_libxlutil_reads_it",
        ),
        Word(
            "the disk specification",
            "as libxlutil reads it, with its messages",
            "parity/test_libxlutil.py::test_a_disk_specification_is_read_as_libxlutil_reads_it",
        ),
        Word(
            "xlsnapshot.internal, xlsnapshot.external",
            "work as they stand",
            f"{FILE}test_the_examples_of_the_design_work_as_they_stand",
        ),
    ),
    "Store": (
        Word(
            "/var/lib/xen/snapshots/UUID/NAME.save",
            "where memory goes by itself",
            f"{FILE}test_the_memory_goes_where_the_file_says_and_is_deleted_from_there",
        ),
        Word(
            "libxl-json: name, description, creation_time, memory, running … dying, disks",
            "the record, with additions",
            f"{RECORD}test_what_is_written_is_read_back",
        ),
        Word(
            "device, name, file, format, path of a disk",
            "the same; `before` and `after` are whole `libxl_device_disk`",
            f"{RECORD}test_a_record_tells_all_that_attaching_its_disks_takes",
        ),
        Word(
            "records of the implementation",
            "`import-xml` takes them in",
            f"{XML}test_a_record_of_2014_is_taken_in_once_its_tags_are_found",
        ),
    ),
    "Library": (
        Word(
            "libxl_load_dom_snapshot_conf",
            "`xensnap.libxl`",
            f"{LIBXL}test_a_domain_is_known_by_name_uuid_and_domid",
        ),
        Word(
            "libxl_store_dom_snapshot_conf",
            "`xensnap.libxl`",
            f"{LIBXL}test_what_another_tool_has_taken_is_stored_once_it_is_found",
        ),
        Word(
            "libxl_delete_dom_snapshot_conf",
            "`xensnap.libxl`",
            f"{LIBXL}test_what_is_forgotten_can_be_stored_again_as_it_was",
        ),
        Word(
            "libxl_domain_snapshot_list",
            "`xensnap.libxl`",
            f"{LIBXL}test_disks_are_snapshotted_at_one_moment_and_told_as_they_were_taken",
        ),
        Word(
            "libxl_disk_snapshot_create",
            "`xensnap.libxl`",
            f"{LIBXL}test_disks_are_snapshotted_at_one_moment_and_told_as_they_were_taken",
        ),
        Word(
            "libxl_disk_snapshot_delete",
            "`xensnap.libxl`",
            f"{LIBXL}test_a_snapshot_is_deleted_as_a_whole",
        ),
        Word(
            "libxl_disk_snapshot_revert",
            "`xensnap.libxl`",
            f"{LIBXL}test_disks_are_reverted_all_or_one",
        ),
        Word(
            "libxl_disk_to_snapshot",
            "`xensnap.libxl`",
            f"{LIBXL}test_the_disks_that_a_snapshot_would_cover_are_told",
        ),
    ),
    "Where it contradicts itself": (
        Word("`memory` or `save`", "`memory`", f"{FORMAT}test_i1_save_is_the_old_name_of_memory"),
        Word(
            "three file names of a record",
            "`snapshotdata-d.NAME.libxl-json` is written, all are read; `doctor --repair` renames",
            f"{XML}test_a_record_under_an_older_name_is_renamed_by_a_repair",
        ),
        Word(
            "`hda=PATH,type=qcow2`, which is no disk specification",
            "read, with a warning",
            f"{FORMAT}test_i3_an_external_disk_is_written_in_these_ways",
        ),
        Word("a disk by vdev alone", "internal", f"{FORMAT}test_i4_an_internal_disk_has_no_target"),
        Word(
            "a creation time that cannot be given, and is",
            "ignored",
            f"{FORMAT}test_i5_a_creation_time_is_told_and_ignored",
        ),
        Word(
            "the user's file lives where records do",
            "two formats; a record given as a file is refused, and `import-xml` takes it in",
            f"{FORMAT}test_i6_a_record_is_no_configuration",
        ),
        Word(
            "`-n` here, NAME there",
            "both everywhere; two that differ are an error",
            f"{COMMANDS}test_two_names_that_differ_are_an_error",
        ),
        Word(
            "one word: file or domain?",
            "the last word is the domain",
            f"{FILE}test_words_that_make_no_sense_together",
        ),
        Word(
            "absolute or relative file",
            "both",
            f"{COMMANDS}test_a_relative_configuration_file_is_found_where_the_command_is_typed",
        ),
        Word(
            "`memory` is a file, or a directory",
            "both; a relative path is refused",
            f"{FORMAT}test_i10_a_relative_path_is_refused",
        ),
        Word(
            "a unique name that defaults to the second",
            "`EPOCH-1` and so on",
            f"{COMMANDS}test_two_in_one_second_have_different_names",
        ),
        Word(
            "names of any characters in file names and tags",
            "text without `/`, control characters, leading `.` or `-`",
            f"{COMMANDS}test_names_that_would_leave_the_store_or_confuse_tools_are_refused",
        ),
        Word("overlays of qcow2 only, or raw too", "qcow2", f"{FORMAT}test_i13_an_overlay_is_qcow2"),
        Word(
            "domid signed or unsigned",
            "name, UUID or domid; the UUID counts",
            f"{COMMANDS}test_a_domain_is_named_as_xl_names_it",
        ),
        Word(
            "no field says internal or external",
            "`type` of each disk in the record",
            f"{RECORD}test_what_is_written_is_read_back",
        ),
        Word(
            "no configuration, parent, earlier path in the record",
            "`domain_config`, `parent`, `before`",
            f"{RECORD}test_the_domains_configuration_is_part_of_the_record_where_it_is_json",
        ),
        Word(
            "the same state, but a new domid",
            "the state is restored; the UUID stays",
            f"{COMMANDS}test_revert_brings_back_disks_and_memory_and_the_state_they_were_in",
        ),
        Word(
            "delete and revert of external snapshots are left open",
            "merged; a new overlay on the frozen image",
            f"{FILE}test_the_examples_of_the_design_work_as_they_stand",
        ),
        Word(
            "names of manual pages that do not agree",
            "xl.snapshot.cfg(5)",
            "cli/test_words_of_2014.py::test_the_manual_tells_every_key",
        ),
        Word(
            "a memory file that is not called like the snapshot",
            "allowed; what is deleted is what the record says",
            f"{FILE}test_the_memory_goes_where_the_file_says_and_is_deleted_from_there",
        ),
        Word(
            "`-D` and `memory`",
            "a conflict, before anything is touched",
            f"{FILE}test_what_file_and_options_say_differently_ends_the_run_before_anything",
        ),
        Word(
            "internal by default, though a disk is raw",
            "refused for each such disk, with the way out",
            f"{FILE}test_by_its_old_name_disks_that_cannot_be_internal_are_refused_with_the_way_out",
        ),
    ),
}

INTRODUCTION = """\
# The 2014 design, word by word

The design that xensnap finishes was written on a mailing list, in nine versions, and never merged. Somebody with one of
its documents in hand finds here where each word works, and the test that tries it. A test keeps this page true.
"""


def page() -> str:
    """docs/reference/words-of-2014.md."""
    parts = [INTRODUCTION]
    for title, words in PARTS.items():
        rows = "".join(f"| {_cell(word.word)} | {word.now} | `{word.test.partition('::')[2]}` |\n" for word in words)
        parts.append(f"## {title}\n\n| The design says | Now | Test |\n|---|---|---|\n{rows}")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")
