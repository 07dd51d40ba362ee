"""`{data}` in a study: the folder that `data` names, so that one study runs over any folder of recorded files."""

from typing import Any

MARK = "{data}"


def with_data_folder(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The config with `{data}` replaced in all texts, and a fault for each place where no `data` is set."""
    folder = config.get("data")
    faults: list[str] = []
    known = isinstance(folder, str) and bool(folder)
    filled = {key: _filled(value, key, folder if known else None, faults) for key, value in config.items()}
    return {**filled, "data": folder} if "data" in config else filled, faults


def _filled(value: Any, path: str, folder: str | None, faults: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(part, f"{path}.{key}", folder, faults) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, f"{path}[{number}]", folder, faults) for number, part in enumerate(value)]
    if not isinstance(value, str) or MARK not in value:
        return value
    if folder is None and path != "data":
        faults.append(f"{path}: {value!r} needs a folder; set `data`, or run with --config data=FOLDER")
    return value if folder is None else value.replace(MARK, folder.rstrip("/") or "/")
