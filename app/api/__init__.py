"""The HTTP API: OpenAI's protocol over the pipeline, and the documents behind it."""
