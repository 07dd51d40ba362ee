"""The provenance of a whole study as a Provenance Run Crate 0.5, the most detailed Workflow Run RO-Crate profile.

Profile: https://w3id.org/ro/wfrun/provenance/0.5, over RO-Crate 1.1 (https://w3id.org/ro/crate/1.1). The crate holds
metadata, the workflow and the lineage page. The study's files lie outside its folder, so they go by URIs that say which
file of which state of the study is meant (docs/lineage.md says why).
"""

from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stillhouse.provenance.crate_files import CrateFiles, Entities, described, one_or_all
from stillhouse.provenance.digests import canonical_json, digest_json
from stillhouse.provenance.lineage import Node
from stillhouse.provenance.records import FileDigest
from stillhouse.provenance.study_records import usage_of

if TYPE_CHECKING:
    from rocrate.model.entity import Entity

SPECIFICATION = "1.1"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("sha256", "resourceUsage")}
"""What the profile adds to the vocabulary of RO-Crate 1.1, as far as it is used here."""
WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
COMPLETED = "http://schema.org/CompletedActionStatus"
OWN_LICENCE = "Apache-2.0"
"""That of this workflow, as in LICENSE."""
MAIN = "workflow/Snakefile"
UNITS = {"seconds": "SEC", "usd": "USD"}
"""UN/CEFACT and ISO 4217 codes of what a job used; everything else is counted in pieces (C62)."""


def crate_document(nodes: list[Node], records: list[FileDigest], payload: list[FileDigest]) -> dict[str, Any]:
    """The JSON-LD document of a crate about the jobs `nodes`, parents first.

    `records` are the digests of their records, `payload` those of the files beside the document, by their paths in the
    crate: the workflow's Snakefile, rules and licence below workflow/, and the lineage page. The same records give the
    same document.
    """
    return _Writer(nodes, records).document(payload)


class _Writer:
    """Adds entities to one crate, each once."""

    def __init__(self, nodes: list[Node], records: list[FileDigest]) -> None:
        from rocrate.rocrate import ROCrate

        self.crate = ROCrate(version=SPECIFICATION)
        self.nodes = nodes
        self.records = {record.path: record for record in records}
        self.entities = Entities(self.crate)
        self.files = CrateFiles(self.entities, nodes)

    def document(self, payload: list[FileDigest]) -> dict[str, Any]:
        tools = {node: self._tool(node) for node in self.nodes}
        steps = self._steps(tools)
        workflow = self._workflow(payload)
        workflow["hasPart"] = one_or_all(_unique(tools.values()))
        workflow["step"] = one_or_all(list(steps.values()))
        jobs = {node: self._job(node, tool) for node, tool in tools.items()}
        run = self._run(workflow)
        self._root([run, self._engine(run, jobs, steps), *jobs.values()])
        self.crate.metadata.extra_terms.update(TERMS)
        return self.crate.metadata.generate()

    # what was planned: the workflow, its rules, their software

    def _workflow(self, payload: list[FileDigest]) -> "Entity":
        """Add the files that lie in the crate's folder; the main workflow is returned."""
        licence = {"license": self.entities.licence(OWN_LICENCE)}
        for file in payload:
            about = {"name": file.path, **described(file.path, file.sha256, file.size)}
            if file.path == MAIN:
                self.crate.add_workflow(
                    dest_path=MAIN,
                    main=True,
                    lang="snakemake",
                    lang_version=version("snakemake"),
                    properties={**about, **licence, **self._about_workflow()},
                )
            else:
                ours = licence if file.path.startswith("workflow/") else {}
                self.crate.add_file(dest_path=file.path, properties={**about, **ours})
        return self.crate.mainEntity

    def _about_workflow(self) -> dict[str, Any]:
        states = (node.record["run"]["workflow"] for node in self.nodes)
        commits = [f"{state['commit']}{' with changes' if state['dirty'] else ''}" for state in states if state]
        profile = self.entities.thing(WORKFLOW_PROFILE, "CreativeWork", {"name": "Bioschemas ComputationalWorkflow"})
        kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        told = {"@type": kinds, "name": "Stillhouse", "conformsTo": profile}
        return {**told, "version": ", ".join(dict.fromkeys(commits))} if commits else told

    def _tool(self, node: Node) -> "Entity":
        """What a rule ran: its code and software as they were."""
        code, software = node.record["code"]["digest"], node.record["software"]
        packages = [self._package(name, number) for name, number in software.items()]
        needs = {"softwareRequirements": one_or_all(packages)} if packages else {}
        return self.entities.thing(
            f"#tool/{node.rule}/{digest_json([code, software])[:16]}",
            "SoftwareApplication",
            {
                "name": node.rule,
                "description": f"Rule {node.rule}: its script and every library module that the script reaches.",
                "softwareVersion": code,
                **needs,
            },
        )

    def _package(self, name: str, number: str) -> "Entity":
        about = {"name": name, "softwareVersion": number, "url": f"https://pypi.org/project/{name}/"}
        return self.entities.thing(f"#package/{name}/{number}", "SoftwareApplication", about)

    def _steps(self, tools: dict[Node, "Entity"]) -> dict[str, "Entity"]:
        """One step for a rule; a rule whose code changed between its jobs has several tools."""
        ran: dict[str, list[Entity]] = {}
        for node, tool in tools.items():
            ran.setdefault(node.rule, []).append(tool)
        return {
            rule: self.entities.thing(
                f"#step/{rule}",
                "HowToStep",
                {"name": rule, "position": str(position), "workExample": one_or_all(_unique(found))},
            )
            for position, (rule, found) in enumerate(ran.items())
        }

    # what happened: jobs, the run, the engine

    def _job(self, node: Node, tool: "Entity") -> "Entity":
        work, record = _work(node), self.records[node.file.as_posix()]
        read = [self.files.entity(item) for item in node.inputs]
        settings = [self._recipe(node), *self._models(node)]
        properties = {
            "name": node.job,
            "description": _told(node),
            "startTime": work["started"],
            "endTime": work["finished"],
            "actionStatus": COMPLETED,
            "instrument": tool,
            "object": one_or_all(_unique([*read, *settings])),
            "result": one_or_all([self.files.entity(item) for item in node.record["artefacts"]]),
            "resourceUsage": one_or_all(self._usage(node)),
            "subjectOf": self.files.entity(record.plain()),
        }
        return self.entities.thing(f"#job/{quote(record.path)}", "CreateAction", properties)

    def _recipe(self, node: Node) -> "Entity":
        """The settings of the study that decide the result."""
        value = canonical_json(node.record["recipe"])
        about = {"name": f"recipe of {node.rule}", "propertyID": "recipe", "value": value}
        return self.entities.thing(
            f"#recipe/{node.rule}/{digest_json(node.record['recipe'])[:16]}", "PropertyValue", about
        )

    def _models(self, node: Node) -> list["Entity"]:
        """The models that a job asked or trained, by what tells them from others."""
        entities = []
        for model in node.record.get("models") or []:
            told = canonical_json({name: value for name, value in model.items() if name != "name"})
            about = {"name": f"model {model['name']}", "description": f"A language model: {told}", "identifier": told}
            entities.append(self.entities.thing(f"#model/{digest_json(model)[:16]}", "CreativeWork", about))
        return entities

    def _usage(self, node: Node) -> list["Entity"]:
        used = {"seconds": _work(node)["seconds"], **(usage_of(node) or {})}
        place = quote(node.file.as_posix())
        return [
            self.entities.thing(
                f"#usage/{place}/{name}",
                "PropertyValue",
                {"name": name, "propertyID": name, "value": str(value), "unitCode": UNITS.get(name, "C62")},
            )
            for name, value in used.items()
            if value is not None
        ]

    def _run(self, workflow: "Entity") -> "Entity":
        """All jobs together: from the user's own files to what no other job read."""
        made = {path for node in self.nodes for path in node.artefacts}
        read = {item["path"] for node in self.nodes for item in node.inputs}
        sources = [self.files.entity(item) for node in self.nodes for item in node.inputs if item["path"] not in made]
        final = [item for node in self.nodes for item in node.record["artefacts"] if item["path"] not in read]
        properties = {
            "name": "The whole study",
            "description": f"{len(self.nodes)} jobs, run in one or more sessions of Snakemake.",
            "startTime": min(_work(node)["started"] for node in self.nodes),
            "endTime": max(_work(node)["finished"] for node in self.nodes),
            "actionStatus": COMPLETED,
            "instrument": workflow,
            "result": one_or_all([self.files.entity(item) for item in final]),
        }
        if sources:
            properties["object"] = one_or_all(_unique(sources))
        return self.entities.thing("#run", "CreateAction", properties)

    def _engine(self, run: "Entity", jobs: dict[Node, "Entity"], steps: dict[str, "Entity"]) -> "Entity":
        """Snakemake at work: one control action for each job."""
        about = {
            "name": "Snakemake",
            "softwareVersion": version("snakemake"),
            "url": "https://snakemake.readthedocs.io",
        }
        controls = [
            self.entities.thing(
                f"#start/{quote(node.file.as_posix())}",
                "ControlAction",
                {"name": f"start {node.job}", "instrument": steps[node.rule], "object": job},
            )
            for node, job in jobs.items()
        ]
        properties = {
            "name": "Runs of Snakemake",
            "instrument": self.entities.thing("#snakemake", "SoftwareApplication", about),
            "object": one_or_all(controls),
            "result": run,
        }
        return self.entities.thing("#engine", "OrganizeAction", properties)

    def _root(self, actions: list["Entity"]) -> None:
        study, root = self.nodes[-1].record["study"]["name"], self.crate.root_dataset
        root["name"] = f"Provenance of study {study}"
        root["description"] = (
            f"How every file of the Stillhouse study {study} was made: {len(self.nodes)} jobs with what they read and "
            "wrote, their code, settings, software, models, calls and times. The files lie in the study's folder; each "
            "is named by its path there."
        )
        root["identifier"] = self.files.base
        root["datePublished"] = max(_work(node)["finished"] for node in self.nodes)
        root["conformsTo"] = [
            self.entities.thing(uri, "CreativeWork", {"name": name, "version": uri.rsplit("/", 1)[1]})
            for uri, name in PROFILES.items()
        ]
        root["license"] = self.entities.thing(
            "#licence",
            "CreativeWork",
            {
                "name": "No licence for the whole",
                "description": "What the study names a licence of carries it. Nothing is said of anything else.",
            },
        )
        root["mentions"] = actions


def _work(node: Node) -> dict[str, Any]:
    """The run that did the work, where this one took its result from the store."""
    return node.record.get("origin") or node.record["run"]


def _told(node: Node) -> str:
    reused = (
        " The files came from the store; the times are those of the run that made them."
        if node.record["reused"]
        else ""
    )
    return f"Build key {node.record['key']}.{reused}"


def _unique(entities: Iterable["Entity"]) -> list["Entity"]:
    return list({entity.id: entity for entity in entities}.values())
