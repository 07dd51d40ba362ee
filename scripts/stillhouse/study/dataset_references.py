"""References of datasets to other sections, and formats that a generation cannot fill."""

from collections.abc import Iterator

from stillhouse.study.datasets import Dataset, OtherAnswers, Source
from stillhouse.study.faults import known
from stillhouse.study.models import LlamaCppModel, TrainedModel
from stillhouse.study.quality import Quality
from stillhouse.study.study import Study


def check_dataset(study: Study, name: str, path: str) -> Iterator[str]:
    """Every fault of one dataset as one line: key path, what was found, what was expected."""
    dataset = study.datasets[name]
    for number, source in enumerate(dataset.sources):
        yield from _source(study, dataset, source, f"{path}.sources[{number}].generation")
        yield from _quality(study, source, f"{path}.sources[{number}]")
    if not any(_quality_of(study, source) for source in dataset.sources):
        for key in dataset.quality_keys:
            yield f"{path}.{key}: quality: none of the sources has `quality`, by which a model scores its answers"
    if sum(source.share or 0.0 for source in dataset.sources) >= 1.0:
        yield f"{path}.sources: shares add up to 1 or more, which leaves no room for the other rows"
    if all(source.share is not None for source in dataset.sources):
        yield f"{path}.sources: one source at least must have no share, the others are measured against it"
    for number, evaluation in enumerate(dataset.decontaminate.against if dataset.decontaminate else []):
        yield from known(f"{path}.decontaminate.against[{number}]", evaluation, study.evaluations, "evaluations")
    for number, repeat in enumerate(dataset.repeats):
        for place, match in enumerate(repeat.any or repeat.all or []):
            key = f"{path}.repeats[{number}].{'any' if repeat.any else 'all'}[{place}].generation"
            if match.generation is not None and match.generation not in [one.generation for one in dataset.sources]:
                yield f"{key}: {match.generation!r} is no source of the dataset"
    yield from _others(study, dataset, f"{path}.pairs.rejected")
    yield from _tokens(study, dataset, f"{path}.tokens.model")


def _source(study: Study, dataset: Dataset, source: Source, key: str) -> Iterator[str]:
    yield from _answered(study, key, source.generation)
    generation = study.generations.get(source.generation)
    if (
        generation is None
        and source.generation not in study.answers
        or generation
        and generation.method == "tournament"
    ):
        return
    told = f"{source.generation!r} is a {generation.method} generation" if generation else _of_files(source.generation)
    if dataset.format == "critic":
        yield f"{key}: critiques come from tournaments; {told}"
    if dataset.format == "preference" and not dataset.pairs.generations:
        yield f"{key}: pairs come from tournaments, or from other models' answers in pairs.rejected; {told}"


def _quality(study: Study, source: Source, path: str) -> Iterator[str]:
    """Filters by scores that nobody gives, and bounds that no score on the scale could miss or reach."""
    quality, name = _quality_of(study, source), source.generation
    if name not in study.generations and name not in study.answers:
        return
    for number, one in enumerate(source.filters):
        key = f"{path}.filters[{number}].quality"
        section = "generations" if name in study.generations else "answers"
        if one.quality is not None and quality is None:
            yield f"{key}: no model scores these answers; give {section}.{name} a `quality: {{model: NAME}}`"
        elif one.quality is not None and quality is not None:
            low, high = quality.scale
            if not low <= one.quality.min <= high:
                bounds = f"the scale of {section}.{name}.quality, [{low}, {high}]"
                yield f"{key}.min: expected a score on {bounds}; found {one.quality.min:g}"


def _quality_of(study: Study, source: Source) -> Quality | None:
    entry = study.generations.get(source.generation) or study.answers.get(source.generation)
    return entry.quality if entry else None


def _answered(study: Study, key: str, name: str) -> Iterator[str]:
    """A fault where `name` is neither a generation nor answers of files."""
    yield from known(key, name, [*study.generations, *study.answers], "generations or answers")


def _of_files(name: str) -> str:
    return f"{name!r} are answers of files"


def _others(study: Study, dataset: Dataset, key: str) -> Iterator[str]:
    if dataset.format != "preference":
        return
    for number, one in enumerate(dataset.pairs.order):
        if not isinstance(one, OtherAnswers):
            continue
        yield from _answered(study, f"{key}[{number}].generation", one.generation)
        asked = {study.generations[s.generation].prompts for s in dataset.sources if s.generation in study.generations}
        unnamed = any(
            source.generation in study.answers for source in dataset.sources
        )  # any prompt may be among theirs
        other = study.generations.get(one.generation)
        if other is not None and other.method == "dialogue":
            yield f"{key}[{number}].generation: {one.generation!r} is a dialogue, whose last turn answers no prompt alone"
        if other is not None and other.prompts not in asked and not unnamed:
            yield (
                f"{key}[{number}].generation: {one.generation!r} answers prompts {other.prompts!r}, "
                f"the sources {', '.join(sorted(asked))}"
            )


def _tokens(study: Study, dataset: Dataset, key: str) -> Iterator[str]:
    if dataset.tokens is None:
        return
    yield from known(key, dataset.tokens.model, study.models, "models")
    model = study.models.get(dataset.tokens.model)
    if isinstance(model, TrainedModel):
        yield f"{key}: {dataset.tokens.model!r} has the tokenizer of the model at its bottom; name that one (llama_cpp)"
    elif model is not None and not isinstance(model, LlamaCppModel):
        yield f"{key}: {dataset.tokens.model!r} has backend {model.backend}; a tokenizer comes with weights (llama_cpp)"
