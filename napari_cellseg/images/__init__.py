"""Images: reading files, what their tags mean, listing folders, samples."""
