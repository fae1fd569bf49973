"""Domain files: strict to read, and changed without losing anything the operator wrote."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.errors import Usage
from xensnap.formats.domain_toml import DiskEntry, parse, with_layers
from xensnap.model import Format, Layer

UUID = "0f1e2d3c-0f1e-4d3c-8f1e-2d3c0f1e2d3c"
FRESH = "11111111-2222-4333-8444-555555555555"
WHOLE = f"""\
# The mail server; ask Ada before touching it.
name = "mail"   # not "post"
uuid = "{UUID}"

[[disk]]        # the system
vdev = "xvda"
format = "qcow2"
path = "mail.qcow2"

[[disk]]
  path = '/srv/data.raw'  # on the big disk
  vdev = "xvdb"
  format = "raw"
  mode = "ro"

[[disk]]
vdev = "hdc"
cdrom = true
"""


def read(text: str):
    return parse(text, source="mail.toml", fresh_uuid=FRESH)


def test_a_whole_file_is_read():
    entry = read(WHOLE)
    assert (entry.name, entry.uuid) == ("mail", UUID)
    assert entry.disks == (
        DiskEntry("xvda", "mail.qcow2", Format.QCOW2, readonly=False, cdrom=False),
        DiskEntry("xvdb", "/srv/data.raw", Format.RAW, readonly=True, cdrom=False),
        DiskEntry("hdc", "", Format.RAW, readonly=True, cdrom=True),
    )


def test_a_domain_may_have_no_disks_and_a_number_for_a_name():
    assert read(f'name = "7"\nuuid = "{UUID.upper()}"\n') == read(f'uuid = "{UUID}"\nname = "7"\ndisk = []\n')


DISK = '[[disk]]\nvdev = "xvda"\npath = "a"\nformat = "raw"\n'
HEAD = f'name = "mail"\nuuid = "{UUID}"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "no TOML"),
        (f'uuid = "{UUID}"', "mail.toml: name:"),
        (f'name = "a/b"\nuuid = "{UUID}"', "mail.toml: name:"),
        (f'name = "a\\nb"\nuuid = "{UUID}"', "mail.toml: name:"),
        (f'name = 7\nuuid = "{UUID}"', "mail.toml: name: expected a string"),
        ('name = "mail"\nuuid = "7"', "mail.toml: uuid: '7' is no UUID"),
        (HEAD + 'nmae = "x"', "mail.toml: nmae: unknown key; did you mean 'name'?"),
        (HEAD + "xyzzy = 4", "mail.toml: xyzzy: unknown key; known are name, uuid,"),
        (HEAD + 'disk = "a"', "mail.toml: disk: expected an array of tables"),
        (HEAD + "disk = [7]", "disk[0]: expected a table"),
        (HEAD + "[disk]\n", "mail.toml: disk: expected an array of tables"),
        (HEAD + DISK + DISK, "disk[1].vdev: 'xvda' is the name of two disks"),
        (HEAD + DISK + 'fromat = "raw"', "disk[0].fromat: unknown key; did you mean 'format'?"),
        (HEAD + DISK + "cdrom = 1", "disk[0].cdrom: expected true or false"),
        (HEAD + DISK + 'mode = "w"', 'disk[0].mode: expected "ro" or "rw"'),
        (HEAD + DISK.replace("xvda", "../x"), "disk[0].vdev: '../x' is no device name"),
        (HEAD + DISK.replace('"a"', '""'), "disk[0].path: a disk needs a path"),
        (HEAD + DISK.replace('"a"', '"\\u0000"'), "disk[0].path: a path cannot hold a zero byte"),
        (HEAD + DISK.replace('"raw"', '"vmdk"'), "disk[0].format: expected one of raw, qcow2"),
        (HEAD + DISK.replace('format = "raw"', ""), "disk[0].format: expected one of raw, qcow2"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, words):
    with pytest.raises(Usage) as caught:
        read(text)
    assert words in str(caught.value)
    assert "mail.toml" in str(caught.value)
    assert (caught.value.id, caught.value.exit_code) == ("bad-domain-file", 2)


def test_without_a_uuid_one_is_proposed():
    with pytest.raises(Usage, match="a domain needs a UUID") as caught:
        read('name = "mail"')
    assert caught.value.remedy == f'Put in: uuid = "{FRESH}"'


def test_a_change_touches_nothing_else():
    changed = with_layers(WHOLE, {"xvda": Layer("mail.s1.qcow2", Format.QCOW2), "xvdb": Layer("o", Format.QCOW2)})
    expected = WHOLE.replace('"mail.qcow2"', '"mail.s1.qcow2"')
    expected = expected.replace("'/srv/data.raw'", '"o"').replace('"raw"\n  mode', '"qcow2"\n  mode')
    assert changed == expected
    assert with_layers(WHOLE, {}) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        HEAD + 'disk = [{vdev = "xvda", path = "a", format = "raw"}, {vdev = "xvdb", path = "b", format = "raw"}]\n',
        "disk = [\n  { format = 'raw', vdev = 'xvda', path = 'a' }, # one\n]\n" + HEAD,
        HEAD + "[[disk]]\nvdev = 'xvda'\npath = '''a'''\nformat = \"\"\"raw\"\"\"\r\n",
        HEAD + "[[disk]]\r\n\"vdev\" = 'xvda'\r\n'path' = 'a'\r\nformat = 'raw'\r\n",
    ],
)
def test_every_way_to_write_it_can_be_changed(text):
    before = read(text)
    changed = with_layers(text, {"xvda": Layer("new", Format.QCOW2)})
    after = read(changed)
    assert after.disks[0] == DiskEntry("xvda", "new", Format.QCOW2, readonly=False, cdrom=False)
    assert after.disks[1:] == before.disks[1:]


@given(path=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_path_comes_back_as_it_was_set(path):
    changed = with_layers(WHOLE, {"xvda": Layer(path, Format.RAW)})
    assert read(changed).disks[0].path == path
    assert tomllib.loads(changed)["name"] == "mail"


json_like = st.recursive(
    st.text(max_size=5) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["vdev", "path", "x"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["name", "uuid", "disk"]), json_like))
def test_whatever_the_file_says_it_is_read_or_refused(content):
    import tomlkit

    try:
        text = tomlkit.dumps(content)
    except (TypeError, ValueError):
        return  # TOML has no such value
    try:
        read(text)
    except Usage as error:
        if "mail.toml" not in error.cause:
            raise


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        read(text)
    except Usage as error:
        if "mail.toml" not in error.cause:
            raise
