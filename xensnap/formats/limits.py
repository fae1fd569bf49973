"""How far any text is followed, whoever wrote it, so that none costs more than it can be worth."""

NESTING_MAX = 100
"""Levels of lists, objects or keys within each other: nothing that xl, libxl or we write goes deeper than ten."""
