"""The host's disk: a file system that can crash, images as values, chains, and what qemu-img does to them."""
