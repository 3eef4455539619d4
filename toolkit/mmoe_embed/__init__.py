"""Tiny Mixture-of-Experts models from PyTorch to microcontrollers, bit for bit."""

__version__ = "0.1.0"
