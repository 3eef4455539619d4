"""The binary half of SPEC.md 8: frames, a link over any pyserial URL, and a typed client of a board."""
