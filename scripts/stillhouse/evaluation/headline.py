"""The report's first sentence: its main result with everything that a sceptic asks for, and what speaks against it."""

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.evaluation.conditions import STUDENT, TARGET
from stillhouse.evaluation.contamination import contaminated, listed
from stillhouse.evaluation.figures import percent
from stillhouse.evaluation.worth import FEW, NOISE_FLIPS, is_noise

Report = Mapping[str, Any]

MOST_NAMED = 6  # categories that a warning names one by one
FEW_PROMPTS = 5
"""Prompts of a category below which its figures are anecdotes."""
DECIDED = 0.5
"""Share of verdicts that are no tie from which a judge is said to have decided on an A/A control."""
TONES = {"wins": "good", "loses": "bad", "ties": "open", "cannot tell": "open", None: "open"}
TURNED = {"wins": "loses", "loses": "wins"}
"""A word about the candidate, from the side of a student who is the baseline."""


def headline(report: Report, category_prompts: Mapping[str, int]) -> dict[str, Any]:
    """The main result in words, its tone (good, bad, open, invalid), and warnings, the most severe first.

    `report` is report.json without this block, `category_prompts` the number of prompts of each category. A pair that
    names a student leads, else the first pair, else rubric scores, else markers, else checks, else character breaks,
    else the plain count of subjects.
    """
    words, word = _pair(report) or _rubric(report) or _markers(report) or _rates(report) or _subjects(report)
    spoilt = "" if report["valid"] else "Invalid, too many verdicts have no score: "
    return {
        "words": f"{spoilt}{words} {report['contamination']['words']}",
        "tone": _tone(report, word),
        "warnings": warnings(report, category_prompts),
    }


def _tone(report: Report, word: str | None) -> str:
    if not report["valid"]:
        return "invalid"
    if report["gates"]["passed"] is False:
        return "bad"
    tone = TONES[word]
    doubtful = contaminated(report["contamination"]["trained"]) or _often_unscored(report)
    return "open" if tone == "good" and doubtful else tone


def _first(report: Report, names: Sequence[str]) -> str | None:
    """The first student among `names`, else the first of them."""
    students = [name for name in names if report["subjects"][name]["condition"] == STUDENT]
    return next(iter([*students, *names]), None)


def _pair(report: Report) -> tuple[str, str | None] | None:
    pairs = [pair for pair in report["pairwise"].values() if not pair["control"]]
    if not pairs:
        return None
    students = {name for name, subject in report["subjects"].items() if subject["condition"] == STUDENT}
    pair = next((pair for pair in pairs if students & {pair["candidate"], pair["baseline"]}), pairs[0])
    asked = pair["n"] + pair["unscored"] + pair["incomplete"]
    judged = f"{_judges(list(pair['by_judge']))}; {_share(pair['unscored'], asked)} of verdicts unscored."
    sides = f"{pair['candidate']} against {pair['baseline']}"
    if not pair["n"]:
        return f"{sides}: no usable verdict among {asked}. {judged}", None
    turned = pair["baseline"] in students and pair["candidate"] not in students
    return (
        f"{sides}: {_count(pair['win'], 'win')}, {_count(pair['tie'], 'tie')}, {_count(pair['loss'], 'loss')} in "
        f"{_count(pair['n'], 'verdict')} on {_count(pair['prompts'], 'prompt')}, win rate {pair['rate']:.2f} "
        f"{_interval(report, pair['interval'])}: {pair['word']}. {judged}",
        TURNED.get(pair["word"]) if turned else pair["word"],
    )


def _rubric(report: Report) -> tuple[str, str | None] | None:
    name = _first(report, [name for name in report["order"] if report["subjects"][name]["rubric"]])
    if name is None:
        return None
    rubric = report["subjects"][name]["rubric"]
    found = rubric["recomputed"]
    judged = (
        f"{_judges(list(rubric['by_judge']))}; {_share(found['unscored'], found['n'] + found['unscored'])} of verdicts"
    )
    if not found["n"]:
        return f"{name}: no rubric verdict could be scored. {judged} unscored.", None
    scale = (
        f" on a scale from {report['rubric']['scale'][0]} to {report['rubric']['scale'][1]}" if report["rubric"] else ""
    )
    told, word = _against(report, name, "rubric", "points")
    return (
        f"{name}: rubric overall {found['overall']:.2f}{scale} {_interval(report, found['interval'])} in "
        f"{_count(found['n'], 'scored verdict')}{told}. {judged} unscored.",
        word,
    )


def _markers(report: Report) -> tuple[str, str | None] | None:
    """The first student on the first target set that it was measured on."""
    sets = [key for key, about in report["sets"].items() if about["role"] == TARGET]
    measured = {name: [key for key in sets if key in report["subjects"][name]["markers"]] for name in report["order"]}
    name = _first(report, [name for name in report["order"] if measured[name]])
    if name is None:
        return None
    key = measured[name][0]
    found = report["subjects"][name]["markers"][key]
    told, word = _against(report, name, "raw", "markers", key)
    return (
        f"{name}: capped marker score {found['capped']:.2f} {_interval(report, found['capped_interval'])} in "
        f"{_count(found['n'], 'answer')} to the prompts of {key}{told}. Markers are counted, not judged.",
        word,
    )


def _against(report: Report, name: str, metric: str, unit: str, key: str | None = None) -> tuple[str, str | None]:
    """The first difference of `name` on a metric, as the end of a sentence, and its word."""
    for item in report["differences"]:
        if (item["candidate"], item["metric"], item["set"]) == (name, metric, key):
            value = item["estimate"]["mean"]
            side = "more" if value >= 0 else "fewer"
            interval = _interval(report, item["estimate"]["interval"], "+.2f")
            return f", {abs(value):.2f} {unit} {side} than {item['baseline']} {interval}: {item['word']}", item["word"]
    return "", None


def _rates(report: Report) -> tuple[str, str | None] | None:
    """The first student's share of checks that held, else of answers that break character."""
    for kind, told, noun in (("checks", "checks that held", "check"), ("breaks", "answers out of character", "answer")):
        name = _first(report, [name for name in report["order"] if report["subjects"][name][kind]])
        if name is not None:
            found = report["subjects"][name][kind]
            rate = "not known" if found["rate"] is None else f"{found['rate']:.2f}"
            interval = _interval(report, found["interval"])
            return f"{name}: share of {told} {rate} {interval} in {_count(found['n'], noun)}.", None
    return None


def _subjects(report: Report) -> tuple[str, str | None]:
    prompts = sum(about["prompts"] for about in report["sets"].values())
    return f"{_count(len(report['order']), 'subject')} and {_count(prompts, 'prompt')}: nothing was measured.", None


def _interval(report: Report, interval: Sequence[float] | None, form: str = ".2f") -> str:
    if interval is None:
        return "(no interval can be given)"
    return f"({100 * report['rules']['level']:g} % interval {format(interval[0], form)} to {format(interval[1], form)})"


def _judges(names: list[str]) -> str:
    return f"Judge{'s' if len(names) > 1 else ''}: {listed(names)}"


def _share(part: int, whole: int) -> str:
    return percent(part / whole if whole else 0.0)


def _count(number: int, noun: str) -> str:
    plural = {"loss": "losses"}.get(noun, f"{noun}s")
    return f"{number} {noun if number == 1 else plural}"


def warnings(report: Report, category_prompts: Mapping[str, int]) -> list[str]:
    """What speaks against the results, the most severe first."""
    return [
        *(
            f"{told}: scores on such prompts show memory, not skill."
            for told in contaminated(report["contamination"]["trained"])
        ),
        *report["invalid_reasons"],
        *_often_unscored(report),
        *_failed_gates(report),
        *(
            f"Judge {name} follows the place of an answer more than the answer: its preferences are noise."
            for name, found in report["judges"].items()
            if is_noise(found["pairwise"])
        ),
        *(found["self_preference"]["sentence"] for found in report["judges"].values() if found["self_preference"]),
        *_failed_controls(report),
        *_missing_answers(report),
        *_thin_categories(report, category_prompts),
        *_lonely_judge(report),
    ]


def _often_unscored(report: Report) -> list[str]:
    """Judges with too many verdicts without a score in a report that is valid: theirs were recorded."""
    return [
        f"Judge {name}: {_share(found[kind]['unscored'], found[kind]['n'] + found[kind]['unscored'])} of its recorded "
        f"{kind} verdicts have no score."
        for name, found in report["judges"].items()
        for kind in ("rubric", "pairwise")
        if report["valid"] and found[kind] and found[kind]["unscored_share"] > report["rules"]["max_unscored"]
    ]


def _failed_gates(report: Report) -> list[str]:
    failed = [item["gate"] for item in report["gates"]["checks"] if not item["passed"]]
    names = listed(list(dict.fromkeys(failed)))
    return [f"{len(failed)} of {len(report['gates']['checks'])} gates failed: {names}."] if failed else []


def _failed_controls(report: Report) -> list[str]:
    """A control fails by a rate that is not one half, and by judges who decide, and decide by the place."""
    controls = [pair for pair in report["pairwise"].values() if pair["control"]]
    uneven = [
        f"The A/A control failed: {pair['candidate']} against itself has a win rate of {pair['rate']:.2f} "
        f"{_interval(report, pair['interval'])}, so the judging itself favours one side."
        for pair in controls
        if pair["interval"] and not pair["interval"][0] <= 0.5 <= pair["interval"][1]
    ]
    return [*uneven, *(told for pair in controls for told in _by_place(pair))]


def _by_place(pair: Report) -> list[str]:
    """What judges say of two answers that are the same: each judge with enough comparisons, else all together."""
    judges = pair["by_judge"]
    asked = [([name], found) for name, found in judges.items() if found["flip_n"] >= FEW] or [(list(judges), pair)]
    shown = "identical answers" if pair["identical"] == pair["n"] else "two answers of one subject"
    return [
        f"The A/A control of judge{'s' if len(names) > 1 else ''} {listed(names)} failed. On {shown} it still chose one in "
        f"{_share(found['win'] + found['loss'], found['n'])} of verdicts and contradicted itself on "
        f"{percent(found['flip_rate'])} of prompts."
        for names, found in asked
        if found["flip_n"] >= FEW
        and found["flip_rate"] >= NOISE_FLIPS
        and found["win"] + found["loss"] >= DECIDED * found["n"]
    ]


def _thin_categories(report: Report, category_prompts: Mapping[str, int]) -> list[str]:
    thin = {name: category_prompts.get(name, 0) for name in report["categories"]}
    told = [f"{name} ({number})" for name, number in thin.items() if number < FEW_PROMPTS]
    named = listed(told) if len(told) <= MOST_NAMED else f"{len(told)} of {len(thin)} categories"
    return [f"Fewer than {FEW_PROMPTS} prompts: {named}; take figures by category as anecdotes."] if told else []


def _missing_answers(report: Report) -> list[str]:
    """Sets that some subjects answered and others did not."""
    missing = {
        name: [key for key in report["sets"] if key not in subject["answers"]]
        for name, subject in report["subjects"].items()
        if subject["answers"]
    }
    return [f"{name} has no answer on {listed(sets)}." for name, sets in missing.items() if sets]


def _lonely_judge(report: Report) -> list[str]:
    judges = list(report["judges"])
    return [f"One judge only ({judges[0]}): another may see it otherwise."] if len(judges) == 1 else []
