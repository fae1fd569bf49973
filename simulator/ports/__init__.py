"""The ports of `xensnap.hypervisor` over a world: thin faces that take an effect and swap the world."""
