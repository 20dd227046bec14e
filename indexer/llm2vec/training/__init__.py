"""Training of LLM2Vec adapters: pairs in, a PEFT adapter with its model card out."""
