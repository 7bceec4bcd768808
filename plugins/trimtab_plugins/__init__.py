"""Translations between the compiler and the tools that deploy: no decisions are made here."""
