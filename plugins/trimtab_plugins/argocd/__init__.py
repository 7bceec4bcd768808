"""Argo CD's plugin protocol: a warm server behind one socket, and a program for the stock server to run."""
