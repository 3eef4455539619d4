"""Which model a board should run: a scaling law, its fit to training runs, sweeps of runs, the search for a board."""
