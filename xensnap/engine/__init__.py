"""The engine: observes a host, plans as a pure function, journals, acts. Knows no concrete host."""
