"""The sections of the settings: every key, its default and what it means, by what it is for."""
