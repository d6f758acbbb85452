"""A function in processes of its own, without any AWS."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localstage.runtime import (
    Answer,
    Function,
    FunctionClosedError,
    FunctionSpec,
    InitError,
    _Work,
    client_folder,
)

HANDLERS = """
import os, time

def handle(event, context):
    match event.get("do"):
        case "exit":
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "raise":
            raise ValueError("asked to")
        case "large":
            return "x" * 6_291_556
        case "context":
            return [context.function_name, context.memory_limit_in_mb, context.invoked_function_arn,
                    context.get_remaining_time_in_millis(), context.aws_request_id]
        case "environment":
            return dict(os.environ)
    time.sleep(event.get("seconds", 0))
    return os.getpid()
"""


@pytest.fixture
def function(tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    spec = FunctionSpec("f", "handlers.handle", "arn:f", tmp_path, {"NAME": "value"}, timeout_seconds=1, concurrency=2)
    running = Function(spec, tmp_path / "f.log")
    yield running
    running.close()


def call(function: Function, **event: Any) -> Any:
    answer = function.invoke(json.dumps(event).encode())
    result = json.loads(answer.payload)
    assert answer.function_error == (isinstance(result, dict) and "errorType" in result)
    return result


def test_a_warm_process_is_used_again(function: Function) -> None:
    assert call(function) == call(function)


def test_invocations_are_counted_and_their_time_by_the_memory_of_the_function(function: Function) -> None:
    assert (function.invoked.count, function.invoked.gb_seconds) == (0, 0)
    call(function, seconds=0.4)
    call(function, do="raise")
    assert function.invoked.count == 2
    assert 0.4 * 128 / 1024 <= function.invoked.gb_seconds < 5 * 128 / 1024


def test_two_invocations_at_once_have_a_process_each_and_a_third_waits(function: Function) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(call(function, seconds=0.2))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4
    assert len(set(pids)) == 2


def test_the_context_is_lambdas_own(function: Function) -> None:
    name, memory, arn, remaining_ms, request_id = call(function, do="context")
    assert (name, memory, arn) == ("f", "128", "arn:f")
    assert 500 < remaining_ms <= 1_000
    assert len(request_id) == 36


def test_the_environment_is_lambdas_and_the_functions_and_not_the_callers(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody's own")
    variables = call(function, do="environment")
    assert variables["NAME"] == "value"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "f"
    assert variables["LAMBDA_TASK_ROOT"] == str(function.spec.project_dir)
    assert "AWS_PROFILE" not in variables


def test_an_exception_is_told_as_lambda_tells_it_and_the_process_lives_on(function: Function) -> None:
    pid = call(function)
    error = call(function, do="raise")
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "asked to")
    assert "handlers.py" in error["stackTrace"][0]
    assert call(function) == pid


def test_a_time_out_kills_the_process(function: Function) -> None:
    pid = call(function)
    assert call(function, do="hang")["errorMessage"].endswith("Task timed out after 1.00 seconds")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert call(function) != pid


def test_a_crash_is_an_exit_error_and_the_next_invocation_has_a_fresh_process(function: Function) -> None:
    pid = call(function)
    error = call(function, do="exit")
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert call(function) != pid


def test_an_answer_too_large_for_lambda_is_an_error(function: Function) -> None:
    assert call(function, do="large")["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_module_that_cannot_be_imported_is_an_error_of_each_invocation(tmp_path: Path) -> None:
    function = Function(FunctionSpec("f", "nothing.handle", "arn:f", tmp_path, {}), tmp_path / "f.log")
    for _ in range(2):
        assert call(function)["errorType"] == "Runtime.ImportModuleError"
    function.close()


def test_closing_ends_what_is_under_way(function: Function) -> None:
    call(function)
    ended = []

    def invoke() -> None:
        with pytest.raises(FunctionClosedError):
            call(function, do="hang")
        ended.append(True)

    thread = threading.Thread(target=invoke)
    thread.start()
    function.close()
    thread.join()
    assert ended
    with pytest.raises(FunctionClosedError):
        call(function)


def test_what_a_function_prints_is_in_its_log(function: Function) -> None:
    call(function, do="raise")
    assert "[ERROR] ValueError: asked to" in function.log_path.read_text()


# ---- workers killed on purpose


def in_background(function: Function, results: list[Any], **event: Any) -> threading.Thread:
    thread = threading.Thread(target=lambda: results.append(call(function, **event)))
    thread.start()
    return thread


def test_a_worker_is_killed_in_the_middle_of_its_invocation(function: Function) -> None:
    pid = call(function)
    results: list[Any] = []
    thread = in_background(function, results, seconds=0.9)
    assert function.kill_worker(patience_seconds=5, after_seconds=0.05)
    thread.join()
    assert results[0]["errorType"] == "Runtime.ExitError"
    assert results[0]["errorMessage"].endswith("Runtime exited with error: signal: SIGKILL")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert call(function) != pid


def test_a_kill_waits_for_an_invocation_and_leaves_idle_workers_alone(function: Function) -> None:
    pid = call(function)
    assert not function.kill_worker(patience_seconds=0.05)
    assert call(function) == pid
    killed: list[bool] = []
    killer = threading.Thread(target=lambda: killed.append(function.kill_worker(5, after_seconds=0.05)))
    killer.start()
    assert call(function, seconds=0.9)["errorType"] == "Runtime.ExitError"
    killer.join()
    assert killed == [True]


def test_an_invocation_that_has_only_begun_is_not_in_its_middle(function: Function) -> None:
    results: list[Any] = []
    call(function)
    thread = in_background(function, results, seconds=0.1)
    assert not function.kill_worker(patience_seconds=0.3, after_seconds=0.5)
    thread.join()
    assert isinstance(results[0], int)


def test_one_of_two_workers_is_killed_and_the_other_finishes(function: Function) -> None:
    results: list[Any] = []
    threads = [in_background(function, results, seconds=0.6) for _ in range(2)]
    assert function.kill_worker(patience_seconds=10, after_seconds=0.05)
    for thread in threads:
        thread.join()
    assert sorted(isinstance(result, int) for result in results) == [False, True]


def test_a_worker_that_answers_as_it_is_killed_does_not_count(function: Function) -> None:
    pid = call(function)
    (environment,) = function._warm
    environment._work = _Work(began=0, report=Answer(b"", ""))
    environment._work.ended.set()
    assert not environment.kill_at_work(after_seconds=0.05)
    assert call(function) != pid


IMPORTS = """
import {module}

def handle(event, context):
    return "imported"
"""


@pytest.mark.parametrize("module", ["pytest", "chalicelib", "boto3"])
def test_a_function_told_what_it_imports_finds_nothing_else(tmp_path: Path, module: str) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "handlers.py").write_text(IMPORTS.format(module=module))
    spec = FunctionSpec("f", "handlers.handle", "arn:f", task, {}, imports=[client_folder(tmp_path / "client")])
    lacking = Function(spec, tmp_path / "f.log")
    with pytest.raises(InitError, match=f"^f: Runtime.ImportModuleError: .*No module named '{module}'"):
        lacking.cold_start()
    lacking.close()


def test_a_function_told_what_it_imports_finds_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    task, layer = tmp_path / "task", tmp_path / "layer"
    for folder, text in ((task, IMPORTS.format(module="layered")), (layer, "")):
        folder.mkdir()
        (folder / ("handlers.py" if folder == task else "layered.py")).write_text(text)
    spec = FunctionSpec("f", "handlers.handle", "arn:f", task, {}, imports=[layer, client_folder(tmp_path / "client")])
    running = Function(spec, tmp_path / "f.log")
    started = running.cold_start()
    assert call(running) == "imported"
    assert 0 < started.seconds < 10
    assert 1_000_000 < started.memory_bytes <= running.peak_memory_bytes()
    running.close()
    assert not list(task.rglob("*.pyc")) + list(layer.rglob("*.pyc")), "Lambda's file system is read-only"


def test_a_start_that_crashes_tells_how(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text("import os; os._exit(4)")
    crashing = Function(FunctionSpec("f", "handlers.handle", "arn:f", tmp_path, {}), tmp_path / "f.log")
    with pytest.raises(InitError, match=r"^f: exit status 4 before it was initialised$"):
        crashing.cold_start()
    crashing.close()


def test_a_cold_start_leaves_a_warm_process(function: Function) -> None:
    function.cold_start()
    pid = call(function)
    assert call(function) == pid
    assert function.peak_memory_bytes() > 1_000_000
