"""Load, and proof of exactness, against any stage. Nothing here ships: `chalice package` takes only `chalicelib`."""
