"""Expert paging seen from the host: routing traces, cache policies, and the replay of one over the other."""
