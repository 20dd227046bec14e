"""What the commands do: one file a group, imported only when one of them runs."""
