"""From a question to ranked chunks: bm25 + dense -> fuse -> rerank -> select."""
