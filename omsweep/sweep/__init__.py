"""A sweep: its space, design or search, trials under Ray Tune, and the driver around them."""
