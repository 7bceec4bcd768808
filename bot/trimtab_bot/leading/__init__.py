"""Which replica acts: one holds the lease, and a fencing token in the database keeps everybody else from writing."""
