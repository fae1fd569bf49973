"""A guest of our own: a boot sector that counts in memory and on its disks, and tells when the two disagree.

Each round counts n in memory and writes it to one of 16 sectors of every disk and to one of 64 pages of memory, after a
look that each still holds what was written there 16 or 64 rounds ago. A disk that is older or newer than the memory,
even by one round, is so noticed within 16 rounds, wherever the guest was stopped. Every fourth round it says on its
serial line `n=00000004 bad=00000000` (hexadecimal) and sleeps until the next timer tick. The power button turns it off.

It needs nothing but a BIOS (SeaBIOS boots it from a floppy) and disks of at least 1 MiB, whose content at the start it
ignores. Under TCG the first line comes 0.1 s after the machine. No assembler is needed: the listing below, as GNU `as`
prints it in Intel syntax, is where the bytes are taken from.
"""

import re
from pathlib import Path

LISTING = r"""
0000 FA                 start:  cli
0001 FC                         cld
0002 31C0                       xor  ax, ax
0004 8ED8                       mov  ds, ax
0006 8ED0                       mov  ss, ax
0008 BC007C                     mov  sp, 0x7c00
000b FB                         sti
000c BA0206                     mov  dx, 0x602            ; PM1_EN of the PIIX4:
000f B80001                     mov  ax, 0x0100           ; let the power button
0012 EF                         out  dx, ax               ; set its bit in PM1_STS
0013 B036                       mov  al, 0x36             ; 100 ticks a second
0015 E643                       out  0x43, al             ; instead of 18
0017 B09C                       mov  al, 0x9c
0019 E640                       out  0x40, al
001b B02E                       mov  al, 0x2e
001d E640                       out  0x40, al
001f 6631DB                     xor  ebx, ebx             ; EBX is n
0022 31ED                       xor  bp, bp               ; BP is bad
0024 6643               round:  inc  ebx
0026 B442                       mov  ah, 0x42             ; look at what was written
0028 E86C00                     call disks                ; 16 rounds ago
002b 89D8                       mov  ax, bx               ; one of 64 pages, its
002d 83E03F                     and  ax, 63               ; segment is
0030 C1E008                     shl  ax, 8                ; 0x1000 + 0x100*(n%64)
0033 050010                     add  ax, 0x1000
0036 8EC0                       mov  es, ax
0038 6689D8                     mov  eax, ebx             ; it must hold n-64
003b 6683E840                   sub  eax, 64
003f 7609                       jbe  page                 ; on the first visit
0041 266639060000               cmp  es:[0], eax          ; anything will do
0047 7401                       je   page
0049 45                         inc  bp
004a 2666891E0000       page:   mov  es:[0], ebx          ; and now holds n
0050 31C0                       xor  ax, ax
0052 8EC0                       mov  es, ax
0054 BF0006                     mov  di, 0x600            ; a sector full of n
0057 B98000                     mov  cx, 128
005a 6689D8                     mov  eax, ebx
005d 66F3AB                     rep  stosd
0060 B443                       mov  ah, 0x43             ; goes to each disk
0062 E83200                     call disks
0065 F6C303                     test bl, 3
0068 75BA                       jnz  round
006a BE3F7D                     mov  si, offset text+0x7c00
006d E89A00                     call puts                 ; every fourth round:
0070 6689D8                     mov  eax, ebx             ; n=%08x
0073 E89F00                     call hex
0076 E89100                     call puts
0079 660FB7C5                   movzx eax, bp             ; bad=%08x
007d E89500                     call hex
0080 E88700                     call puts
0083 F4                         hlt                       ; until the next tick
0084 BA0006                     mov  dx, 0x600            ; PM1_STS:
0087 ED                         in   ax, dx
0088 F6C401                     test ah, 1                ; the power button?
008b 7497                       jz   round
008d BA0406                     mov  dx, 0x604            ; PM1_CNT:
0090 B80020                     mov  ax, 0x2000           ; soft off
0093 EF                         out  dx, ax
0094 F4                 off:    hlt
0095 EBFD                       jmp  off
0097 B280               disks:  mov  dl, 0x80             ; each disk that BIOS has
0099 88D0               next:   mov  al, dl
009b 2C80                       sub  al, 0x80
009d 3A067504                   cmp  al, [0x475]          ; (that many)
00a1 7366                       jae  done
00a3 66C706000510000100         mov  dword ptr [0x500], 0x00010010
00ac C70604050008               mov  word ptr [0x504], 0x800
00b2 80FC42                     cmp  ah, 0x42             ; read to 0x800,
00b5 7406                       je   where
00b7 C70604050006               mov  word ptr [0x504], 0x600
00bd C70606050000       where:  mov  word ptr [0x506], 0  ; write from 0x600
00c3 89D9                       mov  cx, bx
00c5 83E10F                     and  cx, 15               ; sector 8+128*(n%16):
00c8 C1E107                     shl  cx, 7                ; 16 clusters of 64 KiB
00cb 83C108                     add  cx, 8
00ce 890E0805                   mov  [0x508], cx
00d2 6631C9                     xor  ecx, ecx
00d5 890E0A05                   mov  [0x50a], cx
00d9 66890E0C05                 mov  [0x50c], ecx
00de BE0005                     mov  si, 0x500
00e1 50                         push ax
00e2 B000                       mov  al, 0
00e4 CD13                       int  0x13                 ; extended read or write
00e6 58                         pop  ax
00e7 721C                       jc   wrong
00e9 80FC42                     cmp  ah, 0x42
00ec 7518                       jne  right
00ee 6689D9                     mov  ecx, ebx             ; both ends of the sector
00f1 6683E910                   sub  ecx, 16              ; must hold n-16
00f5 760F                       jbe  right                ; or anything at first
00f7 66390E0008                 cmp  [0x800], ecx
00fc 7507                       jne  wrong
00fe 66390EFC09                 cmp  [0x9fc], ecx
0103 7401                       je   right
0105 45                 wrong:  inc  bp
0106 42                 right:  inc  dx
0107 EB90                       jmp  next
0109 C3                 done:   ret
010a AC                 puts:   lodsb                     ; text at SI up to a zero
010b 84C0                       test al, al
010d 7405                       jz   said
010f E81E00                     call putc
0112 EBF6                       jmp  puts
0114 C3                 said:   ret
0115 B90800             hex:    mov  cx, 8                ; EAX as eight digits
0118 66C1C004           digit:  rol  eax, 4
011c 6650                       push eax
011e 240F                       and  al, 15
0120 3C0A                       cmp  al, 10
0122 7202                       jb   ten
0124 0427                       add  al, 39
0126 0430               ten:    add  al, 48
0128 E80500                     call putc
012b 6658                       pop  eax
012d E2E9                       loop digit
012f C3                         ret
0130 50                 putc:   push ax                   ; AL to COM1
0131 BAFD03                     mov  dx, 0x3fd
0134 EC                 ready:  in   al, dx
0135 A820                       test al, 0x20
0137 74FB                       jz   ready
0139 58                         pop  ax
013a BAF803                     mov  dx, 0x3f8
013d EE                         out  dx, al
013e C3                         ret
013f 6E3D00             text:   .asciz "n="
0142 206261643D00               .asciz " bad="
0148 0D0A00                     .asciz "\r\n"
"""

# mov dword ptr [0x500] is the longest instruction. What follows the bytes is for people.
_ROW = re.compile(r"(?P<at>[0-9a-f]{4}) (?P<bytes>[0-9A-F]+) +[^ ]?.*")
_REPORT = re.compile(r"n=(?P<n>[0-9a-f]{8}) bad=(?P<bad>[0-9a-f]{8})\r\n")
_FLOPPY_BYTES = 1440 << 10
SECTOR_BYTES = 512


def boot_sector() -> bytes:
    """The program as a BIOS loads it."""
    code = b""
    for row in LISTING.strip().splitlines():
        found = _ROW.fullmatch(row)
        assert found, row
        assert int(found["at"], 16) == len(code), row
        code += bytes.fromhex(found["bytes"])
    return code.ljust(510, b"\0") + b"\x55\xaa"


def floppy(path: Path) -> Path:
    """A floppy image with the program."""
    path.write_bytes(boot_sector().ljust(_FLOPPY_BYTES, b"\0"))
    return path


def reports(serial: str) -> list[tuple[int, int]]:
    """All (n, bad) that a guest has told in full."""
    return [(int(found["n"], 16), int(found["bad"], 16)) for found in _REPORT.finditer(serial)]


REPORTS_UNTIL_NOTICED = 6
"""After so many reports nothing that disagrees has gone unnoticed."""


def sector_of(n: int) -> int:
    """The sector of each disk that holds n from round n on, for 16 rounds."""
    return 8 + 128 * (n % 16)
