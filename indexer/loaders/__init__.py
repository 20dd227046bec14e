"""One module a format. Each turns bytes into an Extract and knows nothing of files or cleaning."""
