"""From ranked chunks to a footnoted answer: prompt -> generate -> cite."""
