"""Text and bytes in and out, as pure functions over frozen values. No I/O here, and no knowledge of any host."""
