"""CloudFormation's intrinsic functions, as far as a stage's parameters decide them.

What only a deployment can tell (a resource's ARN, the region) stays as it is. Pure.
"""

from collections.abc import Mapping
from typing import Any

from ops.template import SUB_VARIABLE

NO_VALUE = "AWS::NoValue"


class Resolver:
    """Puts parameters' values in their places, and takes the branch of each `Fn::If` that these lead to.

    Shapes: values, by parameter, a Number's as an int; conditions, the template's section.
    """

    def __init__(self, values: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
        self._values = values
        self._conditions = conditions

    def holds(self, condition: str) -> bool:
        """Whether a condition of the template holds.

        Raises: KeyError when the template has no such condition.
        """
        return bool(self._judge(self._conditions[condition]))

    def resolve(self, node: Any) -> Any:
        """Resolve a part of the template. Entries that are to have no value are left out."""
        if isinstance(node, list):
            return [resolved for item in node if (resolved := self.resolve(item)) != {"Ref": NO_VALUE}]
        if not isinstance(node, Mapping):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref":
                return self._values.get(argument, node)
            if name == "Fn::If":
                condition, when_true, when_false = argument
                return self.resolve(when_true if self.holds(condition) else when_false)
            if name in ("Fn::Sub", "Fn::Join", "Fn::Split", "Fn::Select"):
                return _text(name, self.resolve(argument), self._values)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value != {"Ref": NO_VALUE}}

    def _judge(self, node: Any) -> bool:
        ((name, argument),) = node.items()
        match name:
            case "Condition":
                return self.holds(argument)
            case "Fn::Equals":
                one, other = (self.resolve(item) for item in argument)
                return str(one) == str(other)
            case "Fn::Not":
                return not self._judge(argument[0])
            case "Fn::And":
                return all(self._judge(item) for item in argument)
            case "Fn::Or":
                return any(self._judge(item) for item in argument)
        raise KeyError(f"a condition is made with {name}")


def _text(name: str, argument: Any, values: Mapping[str, Any]) -> Any:
    """What a function of text gives, where it is decided; else the function with what is known put in."""
    match name, argument:
        case "Fn::Sub", [text, variables]:
            return _text(name, text, {**values, **variables})
        case "Fn::Sub", str(text):
            known = {key: value for key, value in values.items() if isinstance(value, str | int)}
            text = SUB_VARIABLE.sub(lambda match: str(known.get(match[1], match[0])), text)
            return {name: text} if SUB_VARIABLE.search(text) else text.replace("${!", "${")
        case "Fn::Join", [delimiter, [*parts]] if all(isinstance(part, str | int) for part in parts):
            return delimiter.join(map(str, parts))
        case "Fn::Split", [delimiter, str(text)]:
            return text.split(delimiter)
        case "Fn::Select", [index, [*choices]] if int(index) < len(choices):
            return choices[int(index)]
    return {name: argument}
