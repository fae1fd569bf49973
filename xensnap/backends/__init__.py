"""The real hosts: one package each, and `local`, what they share. Nothing here is imported before a host is chosen."""
