"""The peer of ``bench render``: the same objects by templates, as a Helm-like plugin in Python makes them.

It reads the same fleet with PyYAML's C loader, fills Jinja templates for each group, reads the result back to sort it by
kind and name, as ``helm template`` does, and writes it with PyYAML's C dumper. It decides nothing: variants, costs,
digests and checks stand in the templates already, made from what Trimtab rendered. So it does less, and is flattered.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import yaml


def template_of(manifests: str, group: str) -> str:
    """A template from the manifests of ``group``: its name is the variable, and nothing else is one."""
    parts = (f"{{% raw %}}{part}{{% endraw %}}" for part in manifests.split(group))
    return "{{ group }}".join(parts)


def render(fleet: Path, templates: Path, output: Path) -> int:
    """Render every group of ``fleet`` by the template of its slot into ``output``; how many objects there were."""
    loader = jinja2.FileSystemLoader(templates)
    # YAML, not a page: nothing here is shown by a browser.
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - see above
    documents = [
        document
        for path in sorted(fleet.rglob("*.yaml"))
        for document in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader)
    ]
    count = 0
    for document in documents:
        if document["kind"] != "DeviceGroup":
            continue
        name = document["metadata"]["name"]
        text = environment.get_template(f"{document['metadata']['labels']['slot']}.yaml").render(group=name)
        objects = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
        objects.sort(key=lambda item: (item["apiVersion"], item["kind"], item["metadata"]["name"]))
        count += len(objects)
        target = output / name / "manifests.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w") as file:
            yaml.dump_all(objects, file, Dumper=yaml.CSafeDumper, sort_keys=False, explicit_start=True)
    return count


if __name__ == "__main__":
    print(render(*map(Path, sys.argv[1:4])))
