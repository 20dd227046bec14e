"""The index of a generation in Milvus: one collection of it for words and vectors, derived from the truth."""
