"""How a new version takes over: by an alias, bit by bit, asked first, and taken back by alarms."""

from collections.abc import Callable, Iterator

from ops.preflight.checklist import EVERYWHERE, Check, Find, Finding, at, parameters, show
from ops.preflight.stage import ALIAS, API, AUTHORIZER, FUNCTION, HOOK, LIVE, PackagedStage
from ops.template import SUB_VARIABLE, references

GROUP = "AWS::CodeDeploy::DeploymentGroup"
ALL_AT_ONCE = "AllAtOnce"
ROLLS_BACK_ON = "DEPLOYMENT_STOP_ON_ALARM"


def aliases(stage: PackagedStage) -> Iterator[Finding]:
    """Each function but the hook is invoked by the alias `live`."""
    live = [
        reference
        for alias in stage.of_type(ALIAS).values()
        if alias.get("Name") == LIVE
        for reference in references(alias.get("FunctionName"))
    ]
    for name in stage.of_type(FUNCTION):
        if name != HOOK and name not in live:
            yield Finding(f"{name}.AutoPublishAlias", "no alias", LIVE)


def api_invokes_aliases(stage: PackagedStage) -> Iterator[Finding]:
    """The API and its authorizer are invoked by their aliases, never themselves."""
    body = stage.properties("RestAPI").get("Body")
    invoked = _variables(body)
    for name in (API, AUTHORIZER):
        if f"{name}.Arn" in invoked:
            yield Finding("RestAPI.DefinitionBody", f"${{{name}.Arn}}", f"the alias of {name}")
        elif not any(
            alias.get("FunctionName") == {"Ref": name} and logical_id in invoked
            for logical_id, alias in stage.of_type(ALIAS).items()
        ):
            yield Finding("RestAPI.DefinitionBody", f"{name} is not invoked", f"the alias of {name}")


def gradual(names: Callable[[str], bool]) -> Find:
    """CodeDeploy shifts the aliases of some functions bit by bit."""

    def find(stage: PackagedStage) -> Iterator[Finding]:
        groups = stage.of_type(GROUP)
        for logical_id, alias in stage.of_type(ALIAS).items():
            (name,) = references(alias.get("FunctionName"))
            update = at(stage.resources[logical_id], "UpdatePolicy.CodeDeployLambdaAliasUpdate") or {}
            shifted_by = [groups[group] for group in references(update.get("DeploymentGroupName")) if group in groups]
            config = show(shifted_by[0].get("DeploymentConfigName")) if shifted_by else "no deployment group"
            if names(name) and (not shifted_by or ALL_AT_ONCE in config):
                yield Finding(f"{name}.DeploymentPreference", config, "a canary, or linear")

    return find


def rollback(stage: PackagedStage) -> Iterator[Finding]:
    """Alarms stop a deployment and take it back."""
    groups = stage.of_type(GROUP)
    if not groups:
        yield Finding(GROUP, "none", "one for each alias")
    for logical_id, group in groups.items():
        if not at(group, "AlarmConfiguration.Alarms") or at(group, "AlarmConfiguration.Enabled") is not True:
            yield Finding(f"{logical_id}.AlarmConfiguration", show(group.get("AlarmConfiguration")), "alarms")
        if ROLLS_BACK_ON not in (at(group, "AutoRollbackConfiguration.Events") or []):
            yield Finding(f"{logical_id}.AutoRollbackConfiguration", "not on an alarm", ROLLS_BACK_ON)


def asked_first(stage: PackagedStage) -> Iterator[Finding]:
    """The hook is asked before anything is shifted."""
    for logical_id in stage.of_type(ALIAS):
        path = "UpdatePolicy.CodeDeployLambdaAliasUpdate.BeforeAllowTrafficHook"
        hook = at(stage.resources[logical_id], path)
        if list(references(hook)) != [HOOK]:
            yield Finding(f"{logical_id}.{path.rpartition('.')[2]}", show(hook), HOOK)


def _variables(node: object) -> set[str]:
    """What the texts of `Fn::Sub` in a node name, with the attributes: `Ingest`, `Ingest.Arn`."""
    if isinstance(node, dict):
        named = {name for value in node.values() for name in _variables(value)}
        if isinstance(text := node.get("Fn::Sub"), str):
            named |= set(SUB_VARIABLE.findall(text))
        return named
    if isinstance(node, list):
        return {name for item in node for name in _variables(item)}
    return set()


CHECKS = (
    Check("aliases", "Each function has the alias live", "without, there is no version to go back to", aliases),
    Check("api-alias", "The API invokes the aliases", "a release would reach all callers at once", api_invokes_aliases),
    Check(
        "gradual-api",
        "Versions of the API take over bit by bit",
        "a bad one meets a tenth of the callers first",
        gradual(lambda name: name in (API, AUTHORIZER)),
        mend=parameters("ApiRelease"),
    ),
    Check(
        "gradual-consumers",
        "Versions of consumers take over bit by bit",
        "only one that changes what becomes of an event has to take over all at once",
        gradual(lambda name: name not in (API, AUTHORIZER)),
        only_warns=EVERYWHERE,
        mend=parameters("ConsumerRelease"),
    ),
    Check(
        "rollback",
        "Alarms roll back",
        "nobody has to be awake for it",
        rollback,
        mend=parameters("ReleaseWatchesAlarms"),
    ),
    Check("asked-first", "A release is asked first", "one that cannot decode or query is never invoked", asked_first),
)
