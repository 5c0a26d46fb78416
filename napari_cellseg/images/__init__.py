"""Images: file readers, TIFF tags, folder listing and samples."""
