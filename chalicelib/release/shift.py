"""What CodeDeploy is about to do: shift an alias from one version of a function to another.

Only this file knows the form of an AppSpec. CodeDeploy hands a hook two ids and nothing else; what they stand for, it
tells as the AppSpec that CloudFormation wrote, which is JSON.
"""

import msgspec
from msgspec import Struct

from chalicelib.errors import InvariantError

ALL_AT_ONCE = "AllAtOnce"  # how the names end of the configurations that shift nothing by and by


class AppSpecError(InvariantError):
    """What CodeDeploy tells of a release is not what it is documented to be."""


class Shift(Struct, frozen=True):
    """A release of one function. Shapes: release is the name of CodeDeploy's deployment configuration."""

    function: str
    current: str
    target: str
    release: str

    @property
    def is_all_at_once(self) -> bool:
        """Whether the two versions never take turns."""
        return self.release.endswith(ALL_AT_ONCE)


class _Function(Struct, frozen=True):
    name: str = msgspec.field(name="Name")
    current: str = msgspec.field(name="CurrentVersion")
    target: str = msgspec.field(name="TargetVersion")


class _Resource(Struct, frozen=True):
    properties: _Function = msgspec.field(name="Properties")


class _AppSpec(Struct, frozen=True):
    resources: list[dict[str, _Resource]] = msgspec.field(name="Resources")


def parse_app_spec(content: str, release: str) -> Shift:
    """Read what is shifted.

    Raises: AppSpecError when it is not one function.
    Source: AWS CodeDeploy User Guide, "AppSpec 'resources' section for AWS Lambda deployments".
    """
    try:
        spec = msgspec.json.decode(content, type=_AppSpec, strict=False)
        (function,) = (resource.properties for each in spec.resources for resource in each.values())
    except (msgspec.MsgspecError, ValueError) as error:
        raise AppSpecError(f"the AppSpec is not of one function: {error}") from None
    return Shift(function.name, function.current, function.target, release)
