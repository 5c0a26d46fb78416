"""The canvas: class layers as views of the session, colours, camera, painting and pointing."""
