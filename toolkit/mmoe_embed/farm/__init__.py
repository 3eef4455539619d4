"""Many boards: jobs over the places of a labgrid coordinator."""
