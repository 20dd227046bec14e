"""One truth (SQLite) and two derived indexes: lexical (tantivy) and dense (FAISS)."""
