"""Questions written from a collection by a language model, filtered, and reviewed by people."""
