"""Which inputs an answer rests on: pure methods over a function that predicts, within a stated budget and a deadline."""
