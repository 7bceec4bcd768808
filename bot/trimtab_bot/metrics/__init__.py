"""Where figures come from: one port, and its adapters."""
