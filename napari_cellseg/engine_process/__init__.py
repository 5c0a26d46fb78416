"""Long work away from the window: a child process that runs core generators, and its client."""
