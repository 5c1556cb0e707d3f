"""`puffer-sweep check`: what a config means, before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sweeper.cli.options import config_argument, json_option
from sweeper.cli.settings import SettingsCommand, load, parse
from trainer.errors import PufferError

if TYPE_CHECKING:
    from sweeper.inspection import Coverage, Estimate, Feasibility
    from sweeper.space import SearchSpace
    from sweeper.trial import Survey
    from trainer.config import Config, Resolution


@click.command("check", cls=SettingsCommand)
@config_argument
@click.option(
    "--no-environment", is_flag=True, help="Judge the file alone: make no environment, import nothing."
)
@click.option("--measure", is_flag=True, help="Train for a few seconds and estimate the time of the sweep.")
@json_option
@click.pass_context
def command(ctx: click.Context, config: str, *, no_environment: bool, measure: bool, as_json: bool) -> None:
    r"""Validate CONFIG; show what it resolves to, its search space and what samples of it cover.

    Exits with 1 if a sweep of it could not run.

    \b
    Examples:
      puffer-sweep check config/atari.ini
      puffer-sweep check theirs.ini --no-environment
      puffer-sweep check CartPole-v1 --measure --train.total-timesteps 1e6
    """
    if no_environment and measure:
        raise click.UsageError("--measure needs the environment: leave out --no-environment.")
    loaded = load(config, parse(ctx))
    findings = _Findings(loaded)
    if not no_environment:
        findings.make_environment()
    findings.look()
    if measure:
        findings.measure()
    if as_json:
        click.echo(json.dumps(findings.record(), indent=2, default=str))
    else:
        findings.show(config)
    if findings.problems:
        raise click.exceptions.Exit(1)


class _Findings:
    """Everything that was found out, in the order in which it is shown."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.notes = list(config.notes)
        self.warnings: list[str] = []
        self.problems: list[str] = []
        self.survey: Survey | None = None
        self.resolution: Resolution | None = None
        self.space: SearchSpace | None = None
        self.covers: list[Coverage] = []
        self.feasible: Feasibility | None = None
        self.estimate: Estimate | None = None

    def make_environment(self) -> None:
        """Make environment and agent once, as written and at the centre of the space."""
        from sweeper.space import SearchSpace
        from sweeper.trial import survey

        self.survey = survey(self.config)
        if not self.config.sweep.parameters:
            return
        centre = SearchSpace.from_config(self.config).centre()
        made = {
            name: value for name, value in centre.items() if name.split(".")[0] in ("env", "policy", "rnn")
        }
        if made:
            try:
                survey(self.config.override(made, origin="sweep"))
            except PufferError as error:
                self.problems.append(f"At the centre of the search space: {error.paragraph()}")

    def look(self) -> None:
        """Resolve the config and sample its space."""
        from sweeper import inspection
        from sweeper.launchers.gpus import usable_gpus
        from sweeper.space import SearchSpace
        from trainer.config import resolve
        from trainer.records import EnvironmentFacts

        # Without the environment nobody knows its backend: auto stays auto.
        facts = EnvironmentFacts(backend="auto") if self.survey is None else self.survey.environment
        cuda = bool(usable_gpus()) if self.survey is None else self.survey.cuda_available
        if self.survey is None:
            self.notes.append("The environment was not made: one agent in each is assumed.")
        try:
            self.resolution = resolve(self.config, facts, cuda)
            self.notes += self.resolution.notes
        except PufferError as error:
            self.problems.append(error.paragraph())
        self.warnings += inspection.idle_parameters(self.config, None if self.survey is None else facts)
        if not self.config.sweep.parameters:
            self.warnings.append("No parameter is swept: train can run this config, start cannot.")
            return
        self.space = SearchSpace.from_config(self.config)
        self.notes += self.space.notes
        samples = inspection.draw_samples(self.space, self.config.sweep.seed)
        self.covers = inspection.coverage(self.space, samples)
        self.feasible = inspection.feasibility(self.config, facts, samples, cuda_available=cuda)
        if 1 - self.feasible.share > inspection.NEARLY_ALL:
            self.problems.append("Nearly no sample of the search space fits together; see the reasons.")
        problem = inspection.method_problem(self.config, self.space)
        if problem is not None:
            self.problems.append(problem.paragraph())

    def measure(self) -> None:
        """Train for a few seconds, if the config resolves at all."""
        from sweeper.launchers.make import plan_for
        from sweeper.measuring import measure

        if self.resolution is None:
            return
        resolved = self.resolution.config
        plan = plan_for(resolved, str(resolved.vec.backend).lower())
        if resolved.train.num_threads == "auto":
            resolved = resolved.override({"train.num_threads": plan.num_threads}, origin="machine")
        self.estimate = measure(resolved, plan.num_slots)

    def record(self) -> dict[str, Any]:
        """Everything as plain data."""
        from sweeper.inspection import setting_rows

        return {
            "environment": None if self.survey is None else asdict(self.survey.environment),
            "settings": [asdict(row) for row in setting_rows(self.config, self.resolution)],
            "parameters": [
                {
                    **spec.model_dump(exclude={"place"}),
                    "centre": None if self.space is None else self.space[name].centre,
                }
                for name, spec in self.config.sweep.parameters.items()
            ],
            "coverage": [
                {"name": cover.name, "counts": cover.counts, "quantiles": cover.quantiles}
                for cover in self.covers
            ],
            "feasible": None if self.feasible is None else asdict(self.feasible),
            "estimate": None if self.estimate is None else asdict(self.estimate),
            "notes": list(dict.fromkeys(self.notes)),
            "warnings": self.warnings,
            "problems": self.problems,
        }

    def show(self, name: str) -> None:
        """Print it all."""
        from rich.console import Console
        from rich.text import Text

        from sweeper.inspection import setting_rows
        from sweeper.view import inspection_view as view

        console = Console(highlight=False)
        environment = "/".join(filter(None, (self.config.base.package, self.config.base.env_name)))
        console.print(Text.assemble((name, "bold"), f"  {environment}"))
        if self.survey is not None:
            facts = self.survey.environment
            console.print(
                f"{facts.observation} → {facts.action}, {facts.agents_per_env} agent(s) each, {facts.backend}"
            )
        for note in dict.fromkeys(self.notes):
            console.print(Text(f"  {note}", style="dim"))
        console.print()
        console.print(view.config_table(setting_rows(self.config, self.resolution)))
        if self.space is not None:
            console.print()
            console.print(view.space_table(self.config, self.space))
            console.print()
            console.print(view.coverage_table(self.space, self.covers, len(self.covers[0].values)))
        lines = [] if self.feasible is None else view.feasibility_lines(self.feasible)
        if self.estimate is not None:
            lines += view.estimate_lines(self.estimate, self.config.sweep.max_runs)
        console.print()
        for line in lines:
            console.print(line)
        for warning in self.warnings:
            console.print(Text.assemble(("! ", "yellow"), warning))
        for problem in self.problems:
            console.print(Text.assemble(("✗ ", "red"), problem))
        if not self.problems:
            console.print(Text.assemble(("✓ ", "green"), "This config can run."))
