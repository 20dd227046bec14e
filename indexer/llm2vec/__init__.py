"""LLM2Vec: a decoder-only language model as a text encoder (BehnamGhader et al., 2024, arXiv:2404.05961)."""
