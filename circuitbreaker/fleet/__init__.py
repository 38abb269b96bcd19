"""What the processes of a fleet report to each other about one circuit, and what each does with it. Pure but for `link`."""
