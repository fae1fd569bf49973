"""What real backends stand on, over a world: programs, files and leases of a simulated Xen host, in process."""
