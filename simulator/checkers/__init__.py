"""Judges of a world. They look at files, images and processes, and share no logic with the engine they judge."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """Something that must not be: which rule, on what, and how it shows."""

    rule: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.text}"
