"""Every rule has the skeleton of the house, and every script belongs to a rule."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
ORDER = (
    "message",
    "input",
    "output",
    "log",
    "benchmark",
    "threads",
    "resources",
    "params",
    "localrule",
    "priority",
    "script",
)
TOOLS = {
    "accept.py",
    "adopt.py",
    "ledger.py",
    "render_docs.py",
    "resume.py",
    "retry.py",
    "store.py",
    "takedown.py",
    "trace.py",
    "why.py",
}
"""Scripts that people run themselves."""
UNMEASURED = {"estimate"}


def parse(text: str) -> dict[str, dict[str, str]]:
    """Rule -> directive -> its text, in the order of the file."""
    rules: dict[str, dict[str, str]] = {}
    rule = directive = None
    for line in text.splitlines():
        if found := re.match(r"rule (\w+):", line):
            rule, directive = found.group(1), None
            rules[rule] = {}
        elif line and not line.startswith((" ", "#")):
            rule = None
        elif rule and (found := re.match(r"    (\w+):\s*(.*)", line)):
            directive = found.group(1)
            rules[rule][directive] = found.group(2) + "\n"
        elif rule and directive and line.strip():
            rules[rule][directive] += line + "\n"
    return rules


RULES = {
    name: rule for file in sorted((ROOT / "rules").glob("*.smk")) for name, rule in parse(file.read_text()).items()
}
WITH_SCRIPT = {name: rule for name, rule in RULES.items() if "script" in rule}


def script_of(rule: dict[str, str]) -> str:
    return re.search(r'"\.\./scripts/(\w+\.py)"', rule["script"]).group(1)


def test_there_are_rules() -> None:
    assert len(WITH_SCRIPT) >= 18


@pytest.mark.parametrize("name", RULES)
def test_keywords_stand_in_the_order_of_the_house(name: str) -> None:
    assert [key for key in RULES[name] if key not in ORDER] == []
    assert list(RULES[name]) == [key for key in ORDER if key in RULES[name]]


@pytest.mark.parametrize("name", WITH_SCRIPT)
def test_a_rule_with_a_script_has_everything(name: str) -> None:
    wanted = {"message", "input", "output", "log", "benchmark", "threads", "resources", "params"}
    if name in UNMEASURED:
        wanted -= {"benchmark", "output", "message"}  # a target: documented by its docstring
    assert wanted <= set(RULES[name])
    assert "mem_mb=" in RULES[name]["resources"]
    assert "runtime=" in RULES[name]["resources"]
    given = re.findall(r"^        (\w+)=", RULES[name]["params"], re.MULTILINE)
    decides = ["recipe"] if name in UNMEASURED else ["recipe", "code", "software"]
    assert given in (decides, [*decides, "sources"])


@pytest.mark.parametrize("name", [name for name in WITH_SCRIPT if name not in UNMEASURED])
def test_names_agree(name: str) -> None:
    rule, script = RULES[name], script_of(RULES[name])
    for directive in ("code", "software"):
        assert re.search(rf'{directive}\(\s*"{re.escape(script)}"[,)]', rule["params"]), (
            f"{directive} is not that of {script}"
        )
    assert f'"logs/{name}' in rule["log"]
    assert f'"logs/benchmarks/{name}' in rule["benchmark"]
    assert rule["log"].count("{") == rule["benchmark"].count("{")
    assert script == f"{name}.py" or (name, script) == ("collect_evaluation_prompts", "collect_prompts.py")
    assert re.search(r"^        record=.*record\.json", rule["output"], re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in WITH_SCRIPT if name not in UNMEASURED])
def test_log_and_benchmark_name_every_wildcard_of_the_outputs(name: str) -> None:
    outputs = re.sub(r"report\(|labels=\{.*\}", "", RULES[name]["output"])
    wildcards = set(re.findall(r"(?<!\{)\{(\w+)\}(?!\})", outputs)) | set(re.findall(r"\{\{(\w+)\}\}", outputs))
    assert wildcards - {"file"} == set(re.findall(r"\{(\w+)\}", RULES[name]["log"]))


@pytest.mark.parametrize("name", WITH_SCRIPT)
def test_inputs_are_named_and_params_take_wildcards_only(name: str) -> None:
    entries = re.findall(r"^        (\S.*)", RULES[name]["input"], re.MULTILINE)
    openings = [entry for entry in entries if entry.strip()[0] not in ")]}"]
    assert all(re.match(r"\w+=|unpack\(", entry) for entry in openings), openings
    assert not re.search(r"lambda wildcards,", RULES[name]["params"])
    assert "config" not in RULES[name]["params"]


def test_every_script_belongs_to_a_rule_or_is_a_tool() -> None:
    named = {script_of(rule) for rule in WITH_SCRIPT.values()}
    there = {file.name for file in SCRIPTS.glob("*.py")}
    assert named - there == set()
    assert there - named - TOOLS == set()


@pytest.mark.parametrize(
    "script", sorted({script_of(rule) for name, rule in WITH_SCRIPT.items() if name not in UNMEASURED})
)
def test_scripts_are_thin(script: str) -> None:
    text = (SCRIPTS / script).read_text()
    assert re.search(r"^def main\(inputs: Files, outputs: Files, params: Params\) -> Facts:", text, re.MULTILINE)
    assert 'globals().get("snakemake")' in text.split('if __name__ == "__main__":')[1]
    assert "snakemake" not in text.split('if __name__ == "__main__":')[0]
    assert "snakemake.config" not in text
    assert "yaml" not in text


def test_rules_do_not_read_the_raw_config() -> None:
    for file in sorted((ROOT / "rules").glob("*.smk")):
        uses = [
            line for line in file.read_text().splitlines() if re.search(r"(?<![\w./])config\b(?!_)", line.split("#")[0])
        ]
        assert all("load_plan(config" in line for line in uses), (file.name, uses)


def test_the_profile_has_no_code_trigger() -> None:
    text = (ROOT / "profiles/default/config.yaml").read_text()
    triggers = re.search(r"rerun-triggers:(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE).group(1)
    assert "code" not in re.findall(r"[\w-]+", triggers)
    assert {"mtime", "params", "input", "software-env"} <= set(re.findall(r"[\w-]+", triggers))


ASKING = {name: rule for name, rule in WITH_SCRIPT.items() if "plan.model_weights(" in rule["input"]}


def test_rules_that_ask_models_are_known() -> None:
    assert len(ASKING) == 7


@pytest.mark.parametrize("name", ASKING)
def test_a_rule_that_asks_models_counts_what_serves_those_that_are_trained(name: str) -> None:
    """The models of its weights are those of its slots, memory, code and software."""
    rule = {directive: "".join(text.split()) for directive, text in ASKING[name].items()}
    begins = rule["input"].index("plan.model_weights(") + len("plan.model_weights(")
    depth, end = 1, begins
    while depth:
        depth += {"(": 1, ")": -1}.get(rule["input"][end], 0)
        end += 1
    asked, script = rule["input"][begins : end - 1], script_of(ASKING[name])
    assert f"plan.asking_memory({asked})" in rule["resources"]
    assert f"slots(lambdawildcards:{asked}" in rule["resources"]
    for directive in ("code", "software"):
        assert f'{directive}("{script}",lambdawildcards:{asked})' in rule["params"]
