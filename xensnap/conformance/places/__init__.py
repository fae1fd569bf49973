"""Hosts made ready to be tried. Each is imported when it is chosen."""
