"""The public surface, name by name, and the rule that what changes in it stands in the changelog."""
