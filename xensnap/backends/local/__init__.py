"""What every real host shares: files, clock and processes, programs, and qemu-img on images that nobody has open."""
