"""A package's functions as Lambda would have them on this machine: unzipped, told what the template says, and alone.

A function sees the code at the top of its folder, and the layers that are attached to it. It imports from there, from
AWS's runtime client and from Python itself: what is missing from the package is missing here.
"""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localstage.runtime import FunctionSpec, client_folder
from ops.package import LAYER_FOLDER
from ops.package.template import PACKAGED
from ops.template import FUNCTION, LAYER, functions

TIMEOUT_SECONDS, MEMORY_MB = 3, 128  # Lambda's own


@dataclass(frozen=True, slots=True)
class Packaged:
    """An unzipped package. Shapes: layers, the folders that they were unzipped into, by logical id."""

    template: Mapping[str, Any]
    code: Path
    layers: Mapping[str, Path]
    client: Path

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """The properties of each function, by its logical id, the template's Globals among them."""
        return functions(self.template)

    def spec(
        self, name: str, environment: Mapping[str, str], resolve: Callable[[Any], Any] = lambda node: node
    ) -> FunctionSpec:
        """Tell how to run the function of this logical id.

        Shapes: environment, what no template has: credentials, a region, where AWS is; resolve tells the value of an
                intrinsic function, and returns it as it is when it cannot: then the function is run without it.
        """
        properties = self.functions[name]
        variables = resolve(properties.get("Environment", {}).get("Variables", {}))
        named = [layer.get("Ref", "") for layer in properties.get("Layers", []) if isinstance(layer, Mapping)]
        attached = [name for name in named if name in self.layers]  # another's, such as Lambda Insights, is not here
        return FunctionSpec(
            name=name,
            handler=properties["Handler"],
            arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
            project_dir=self.code,
            environment={
                **{variable: value for variable, value in variables.items() if isinstance(value, str)},
                **environment,
            },
            timeout_seconds=properties.get("Timeout", TIMEOUT_SECONDS),
            memory_mb=properties.get("MemorySize", MEMORY_MB),
            imports=[*(self.layers[layer] / LAYER_FOLDER for layer in attached), self.client],
        )


def unpack(package: Path, folder: Path) -> Packaged:
    """Unzip the package in `package` (`make package`) into `folder`, as Lambda does into /var/task and /opt."""
    template = yaml.safe_load((package / PACKAGED).read_text())
    of_type = {
        kind: {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}
        for kind in (FUNCTION, LAYER)
    }
    (archive,) = {properties["CodeUri"] for properties in of_type[FUNCTION].values()}
    code, opt = _unzip(package / archive, folder / "task"), folder / "opt"
    layers = {name: _unzip(package / layer["ContentUri"], opt / name) for name, layer in of_type[LAYER].items()}
    return Packaged(template, code, layers, client_folder(folder / "runtime"))


def _unzip(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder
