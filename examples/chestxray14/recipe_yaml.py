"""YAML that says what it looks like: `1e-3` is a number, and a key that is given twice is an error.

PyYAML reads YAML 1.1, in which `1e-3` without a point is text, and takes the last of two equal keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from awb.errors import AWBError

_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")  # YAML 1.2, core schema


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} given twice", node.start_mark)
        return super().construct_mapping(node, deep)


# before the older rules for what begins with a digit, a sign or a point; whole numbers stay with the rule for them
_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        AWBError: No such file, or no YAML.
    """
    if not path.is_file():
        raise AWBError(f"no recipe {path}")
    return parse_yaml(path.read_text(), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The content of a YAML text.

    Raises:
        AWBError: It is no YAML, or gives a key twice.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise AWBError(f"{where} is no YAML that can be read: {' '.join(str(error).split())}") from None
