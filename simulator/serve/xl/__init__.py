"""xl of Xen 4.17.7 by its command line, in its own words, with its exit codes, the lying ones included (xen.md 5)."""
