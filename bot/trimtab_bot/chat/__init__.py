"""The chat room: one living message per incident, and decisions that go through the same door as the inbox's."""
