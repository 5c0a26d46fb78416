"""The network: backbone, region proposals, heads and targets."""
