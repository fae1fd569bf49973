"""Take the kernel out of a bzImage: `unpack.py BZIMAGE VMLINUX`. The format: Linux, Documentation/arch/x86/boot.rst."""

import lzma
import struct
import sys
from pathlib import Path

SECTOR_BYTES = 512


def unpacked(image: bytes) -> bytes:
    """The ELF image; its packed size and where it begins stand in the boot sector. Debian 12 packs with xz."""
    sectors = image[0x1F1]
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (sectors + 1) * SECTOR_BYTES + offset
    # Behind the packed bytes stands their unpacked size, which the decompressor leaves.
    return lzma.LZMADecompressor().decompress(image[begin : begin + length])


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(unpacked(Path(sys.argv[1]).read_bytes()))
