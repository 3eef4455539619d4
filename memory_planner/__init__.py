"""Static memory planning: where every buffer lives, and the proof that it cannot be smaller."""
