"""Measuring kernels: sources, images for emulated cores, counts."""
