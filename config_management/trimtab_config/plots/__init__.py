"""Plots of money and load, as PNG for where people look and as SVG for documents; drawn by matplotlib."""
