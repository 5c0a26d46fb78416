"""Long work outside the window's process: a child process that runs core generators, and its client."""
