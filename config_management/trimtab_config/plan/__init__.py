"""Who runs what: waves, holds, and the variant of a version that fits a device group. Pure."""
