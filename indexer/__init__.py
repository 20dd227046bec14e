"""From files to searchable chunks: load -> clean -> chunk -> encode -> index."""
