"""Debian's libxlutil and libxenlight as oracles: what the real parsers of xl and libxl make of a text.

The library runs in a process of its own, because it ends with `abort()` where one of its assertions fails. That process
is this very file, which therefore imports nothing but the standard library.
"""

import base64
import ctypes
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAME = "libxlutil.so.4.17"
"""The version whose `libxl_device_disk` is laid out below; another one would be read wrongly."""

LIGHT = "libxenlight.so.4.17"
"""libxl itself, of which only what reads and writes JSON works without Xen."""

FORMATS = ("unknown", "qcow", "qcow2", "vhd", "raw", "empty", "qed")
BACKENDS = ("unknown", "phy", "tap", "qdisk", "standalone")
SPECIFICATIONS = ("unknown", "xen", "virtio")


class Defbool(ctypes.Structure):
    """`libxl_defbool`: -1 is false, 0 the default, 1 true."""

    _fields_ = (("value", ctypes.c_int),)


class Disk(ctypes.Structure):
    """`libxl_device_disk` of Xen 4.17."""

    _fields_ = (
        ("backend_domid", ctypes.c_uint32),
        ("backend_domname", ctypes.c_char_p),
        ("pdev_path", ctypes.c_char_p),
        ("vdev", ctypes.c_char_p),
        ("backend", ctypes.c_int),
        ("format", ctypes.c_int),
        ("script", ctypes.c_char_p),
        ("removable", ctypes.c_int),
        ("readwrite", ctypes.c_int),
        ("is_cdrom", ctypes.c_int),
        ("direct_io_safe", ctypes.c_bool),
        ("discard_enable", Defbool),
        ("specification", ctypes.c_int),
        ("transport", ctypes.c_int),
        ("irq", ctypes.c_uint32),
        ("base", ctypes.c_uint64),
        ("colo_enable", Defbool),
        ("colo_restore_enable", Defbool),
        ("colo_host", ctypes.c_char_p),
        ("colo_port", ctypes.c_int),
        ("colo_export", ctypes.c_char_p),
        ("active_disk", ctypes.c_char_p),
        ("hidden_disk", ctypes.c_char_p),
        ("trusted", Defbool),
    )


COMPARED: Counter[str] = Counter()
"""How many texts of each kind were put to the library by this process."""


def available() -> bool:
    """Whether the library is on this machine."""
    try:
        ctypes.CDLL(NAME)
        ctypes.CDLL(LIGHT)
    except OSError:
        return False
    return True


class Library:
    """The real thing, called in this process."""

    def __init__(self) -> None:
        self.xlu = ctypes.CDLL(NAME)
        self.xl = ctypes.CDLL(LIGHT)
        self.libc = ctypes.CDLL(None)
        pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        self.libc.open_memstream.restype = pointer
        self.libc.fclose.argtypes = [pointer]
        self.xlu.xlu_cfg_init.argtypes, self.xlu.xlu_cfg_init.restype = [pointer, text], pointer
        self.xlu.xlu_cfg_readdata.argtypes = [pointer, text, integer]
        self.xlu.xlu_cfg_destroy.argtypes = [pointer]
        self.xlu.xlu_disk_parse.argtypes = [pointer, integer, ctypes.POINTER(text), ctypes.POINTER(Disk)]
        self.xlu.xlu_cfg_get_string.argtypes = [pointer, text, ctypes.POINTER(text), integer]
        self.xlu.xlu_cfg_get_long.argtypes = [pointer, text, ctypes.POINTER(ctypes.c_long), integer]
        self.xlu.xlu_cfg_get_bounded_long.argtypes = [
            pointer, text, ctypes.c_long, ctypes.c_long, ctypes.POINTER(ctypes.c_long), integer,
        ]  # fmt: skip
        self.xlu.xlu_cfg_get_list.argtypes = [
            pointer, text, ctypes.POINTER(pointer), ctypes.POINTER(integer), integer,
        ]  # fmt: skip
        self.xlu.xlu_cfg_get_listitem2.argtypes, self.xlu.xlu_cfg_get_listitem2.restype = [pointer, integer], pointer
        self.xlu.xlu_cfg_value_type.argtypes = [pointer]
        self.xlu.xlu_cfg_value_get_string.argtypes = [pointer, pointer, ctypes.POINTER(text), integer]
        self.xlu.xlu_cfg_value_get_list.argtypes = [pointer, pointer, ctypes.POINTER(pointer), integer]

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Parse one text; what it says goes into `messages`."""
        if question["kind"].startswith("libxl_"):
            return self._json(question["kind"], base64.b64decode(question["text"]))
        said, length = ctypes.c_void_p(), ctypes.c_size_t()
        report = self.libc.open_memstream(ctypes.byref(said), ctypes.byref(length))
        config = self.xlu.xlu_cfg_init(report, b"SRC")
        data = base64.b64decode(question["text"])
        is_disk = question["kind"] == "disk"
        found = self._disk(config, data) if is_disk else self._config(config, data, question["keys"])
        self.xlu.xlu_cfg_destroy(config)
        self.libc.fclose(report)
        messages = ctypes.string_at(said.value or 0, length.value).decode("latin-1") if length.value else ""
        self.libc.free(said)
        return {**found, "messages": messages}

    def _json(self, kind: str, text: bytes) -> dict[str, Any]:
        """Read a struct from JSON and write it again. libxl wants a context only to complain to: then it crashes."""
        context, struct = ctypes.create_string_buffer(1 << 16), ctypes.create_string_buffer(1 << 16)
        read, write = getattr(self.xl, f"{kind}_from_json"), getattr(self.xl, f"{kind}_to_json")
        read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p]
        write.argtypes, write.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_void_p
        getattr(self.xl, f"{kind}_init")(struct)
        code = read(context, struct, text)
        if code:
            return {"code": code}
        return {"code": 0, "value": json.loads(ctypes.string_at(write(context, struct)))}

    def _disk(self, config: int, spec: bytes) -> dict[str, Any]:
        disk = Disk()
        specs = (ctypes.c_char_p * 1)(spec)
        code = self.xlu.xlu_disk_parse(config, 1, specs, ctypes.byref(disk))
        if code:
            return {"code": code}
        found: dict[str, Any] = {}
        for name, kind in Disk._fields_:
            value = getattr(disk, name)
            if isinstance(value, Defbool):
                value = {-1: False, 0: None, 1: True}[value.value]
            elif kind is ctypes.c_char_p and value is not None:
                value = value.decode("latin-1")
            found[name] = value
        found["format"] = FORMATS[disk.format]
        found["backend"] = BACKENDS[disk.backend]
        found["specification"] = SPECIFICATIONS[disk.specification]
        return {"code": 0, "disk": found}

    def _config(self, config: int, data: bytes, keys: list[str]) -> dict[str, Any]:
        code = self.xlu.xlu_cfg_readdata(config, data, len(data))
        if code:
            return {"code": code}
        return {"code": 0, "values": {key: self._value(config, key.encode()) for key in keys}}

    def _value(self, config: int, key: bytes) -> dict[str, Any]:
        """Everything that a reader can ask about one key, complaints included."""
        text, entries, items = ctypes.c_char_p(), ctypes.c_int(), ctypes.c_void_p()
        number = ctypes.c_long()
        found: dict[str, Any] = {}
        code = self.xlu.xlu_cfg_get_string(config, key, ctypes.byref(text), 0)
        found["string"] = [code, text.value.decode("latin-1") if not code and text.value is not None else None]
        code = self.xlu.xlu_cfg_get_list(config, key, ctypes.byref(items), ctypes.byref(entries), 0)
        found["list"] = [code, self._items(config, items.value or 0) if not code else None]
        code = self.xlu.xlu_cfg_get_long(config, key, ctypes.byref(number), 0)
        found["number"] = [code, number.value if not code else None]
        code = self.xlu.xlu_cfg_get_bounded_long(config, key, 0, 100, ctypes.byref(number), 0)
        found["bounded"] = [code, number.value if not code else None]
        return found

    def _items(self, config: int, items: int) -> list[Any]:
        found: list[Any] = []
        while item := self.xlu.xlu_cfg_get_listitem2(items, len(found)):
            text, inner = ctypes.c_char_p(), ctypes.c_void_p()
            if self.xlu.xlu_cfg_value_get_string(config, item, ctypes.byref(text), 1) == 0:
                found.append((text.value or b"").decode("latin-1"))
            else:
                self.xlu.xlu_cfg_value_get_list(config, item, ctypes.byref(inner), 1)
                found.append(self._items(config, inner.value or 0))
        return found


class Oracle:
    """The library behind a pipe; started again where it aborted, which is an answer, too."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.stdin.close()  # type: ignore[union-attr]
            self._process.stdout.close()  # type: ignore[union-attr]
            self._process.wait(timeout=10)

    def disk(self, spec: bytes) -> dict[str, Any]:
        """What `xlu_disk_parse` makes of a disk specification."""
        return self._ask({"kind": "disk", "text": base64.b64encode(spec).decode()})

    def config(self, text: bytes, *, keys: list[str]) -> dict[str, Any]:
        """What `xlu_cfg_readdata` makes of a configuration file, and what the getters say of each key."""
        return self._ask({"kind": "config", "text": base64.b64encode(text).decode(), "keys": keys})

    def json(self, kind: str, text: bytes) -> dict[str, Any]:
        """What libxl makes of the JSON of a struct: `value` is what it writes after it has read it."""
        return self._ask({"kind": kind, "text": base64.b64encode(text).decode()})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        COMPARED[question["kind"]] += 1
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", Path(__file__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            self._process = None
            return {"code": "aborted", "messages": ""}
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve() -> None:
    """Answer one question a line until there are no more."""
    library = Library()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(library.answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
