"""Git hosts: where proposals (pull requests) live. :mod:`.interface` is the port, :mod:`.local` a bare repository as host."""
