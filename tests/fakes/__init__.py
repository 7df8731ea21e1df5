"""Stand-ins for what a test cannot have: machines, GPUs and minutes of patience."""
