"""The network: backbone, region proposals, heads, targets."""
