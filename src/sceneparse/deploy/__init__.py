"""What leaves the run folder: the bundle."""
