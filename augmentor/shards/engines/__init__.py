"""Where the units of a plan are made: in this process, or on a Ray cluster."""
