"""The contract of `Machine`."""

import uuid


def test_time_passes_in_sleep_and_never_runs_back(bench):
    machine = bench.host.machine
    before = bench.run(machine.monotonic_ns()), bench.run(machine.now_ns())
    bench.run(machine.sleep(0.01))
    after = bench.run(machine.monotonic_ns()), bench.run(machine.now_ns())
    assert after[0] - before[0] >= 10_000_000
    assert after[1] > before[1]


def test_every_id_is_fresh_and_a_uuid(bench):
    ids = [bench.run(bench.host.machine.fresh_id()) for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(str(uuid.UUID(one)) == one for one in ids)


def test_we_stay_who_we_are(bench):
    first = bench.run(bench.host.machine.whoami())
    assert bench.run(bench.host.machine.whoami()) == first
    assert first.pid > 0
    assert first.boot_id
    assert first.user


def test_another_process_is_seen_by_the_file_it_has_open(bench, directory):
    files, machine = bench.host.files, bench.host.machine
    path, link = f"{directory}/file", f"{directory}/other"
    bench.run(files.create(path))
    bench.run(files.create(link))
    assert bench.run(machine.openers(path)) == ()
    for writing in (False, True):
        with bench.opened(path, writing=writing) as pid:
            (opener,) = bench.run(machine.openers(path))
            assert (opener.pid, opener.writing) == (pid, writing)
            assert opener.command
            assert bench.run(machine.openers(link)) == ()
    assert bench.run(machine.openers(path)) == ()


def test_who_has_a_file_open_is_seen_under_its_new_name(bench, directory):
    files, machine = bench.host.files, bench.host.machine
    old, new = f"{directory}/old", f"{directory}/new"
    bench.run(files.create(old))
    with bench.opened(old, writing=True) as pid:
        bench.run(files.rename(old, new))
        bench.run(files.create(old))
        assert [opener.pid for opener in bench.run(machine.openers(new))] == [pid]
        assert bench.run(machine.openers(old)) == ()
