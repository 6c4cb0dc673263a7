"""Plots of an evaluation, each drawn once: SVG for the page, which colours it, and PNG for papers."""
