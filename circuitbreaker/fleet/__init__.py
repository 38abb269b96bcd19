"""What processes report to each other about one circuit, and what each does with it. Pure, except for `link`."""
