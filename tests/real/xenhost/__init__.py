"""A real Xen 4.17 host inside QEMU, for anybody: no Xen, no KVM and no network needed.

`recipe` makes it from Debian packages, `states` keeps it frozen with a guest up, `lab` thaws one for each case.
"""
