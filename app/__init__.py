"""The doors: command line, chat page, settings, wiring."""
