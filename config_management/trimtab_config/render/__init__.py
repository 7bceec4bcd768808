"""From a plan to the Kubernetes objects of one device group. Pure: same catalog, same objects."""
