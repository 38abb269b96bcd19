"""Circuits at the edges: a module for each tool, named after it, which is imported by its users alone."""
