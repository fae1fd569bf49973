"""qemu-img 7.2.22 by its command line: arguments in, exit code, output and another file system out."""
