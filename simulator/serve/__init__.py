"""The doors to a simulated world for programs that know nothing of it: monitors on sockets, and tools by name."""
