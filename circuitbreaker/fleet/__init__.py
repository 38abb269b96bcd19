"""What the processes of a fleet tell each other about one circuit, and what each does with it. Pure, but for `link`."""
