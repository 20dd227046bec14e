"""Fine-tuning of the embedded reader on question, passage and answer spans."""
