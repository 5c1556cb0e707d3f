"""What the method can be told; the defaults are what the benchmarks chose (see docs/search.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweeper.thaw.surrogate import Prior


@dataclass(frozen=True, slots=True)
class Settings:
    """Knobs of the core.

    Attributes:
        rungs: shares of a full run at which runs pause.
        first_rung: index of the rung of the first run, the config as written.
        compression: added to scores scaled to [0, 1] before the logarithm; large means no logarithm.
        verify: least share of all cost that goes to the long parts of runs, those of the leaders.
        long_from: share of a full run from which on a run counts as long.
        overhead: cost of any start or resume, as a share of a full run.
        rivals: leading configurations that a look is weighed against.
        correlated: whether a look is taken to move the belief in its rivals, too.
        risk: standard deviations that are taken off before a run is recommended.
        num_candidates: points per round of proposals.
        rounds: of refinement of the best of them.
        repeats: best configurations that may be run again with a fresh seed.
        max_rows: observations that the surrogate keeps.
        tune_rows: observations that its hyperparameters are fitted to.
        tune_iterations: of L-BFGS.
        robust_rounds: of finding runs whose seed was an outlier, before the fit and after it.
        tail: degrees of freedom of the seeds' offsets towards bad luck; dead seeds are common.
        lucky_outliers: whether luck has such a tail too. A run far above its neighbours is more often a find.
        uncut: share of all training that goes to configurations which run whole from the start, whatever short
            runs say.
        global_share: of the proposals that come from the whole space; None lets the dimensions decide.
        knowledge_gradient: weigh a look by what it can change of the belief, else by expected improvement times
            correlation.
        flat_rule: whether whole runs are spread around the centre until something has been learnt.
        dud_model: whether the chance of a dud is learnt, rather than duds forgotten.
        crash_model, cost_model: whether chances of a crash and differences of cost are learnt.
        percentile: scores count by their rank among all scores only.
        only_new: begin full-length runs, continue none (for use with a pruner).
        max_cost: of a full run, as far as it is predicted; None for no limit.
        prior: of the surrogate.
    """

    rungs: tuple[float, ...] = (0.06, 0.12, 0.25, 0.5, 1.0)
    first_rung: int = 2
    compression: float = 0.05
    verify: float = 0.15
    long_from: float = 0.16
    overhead: float = 0.03
    rivals: int = 20
    correlated: bool = True
    risk: float = 0.5
    num_candidates: int = 200
    rounds: int = 2
    repeats: int = 3
    max_rows: int = 350
    tune_rows: int = 160
    tune_iterations: int = 15
    robust_rounds: int = 2
    tail: float = 2.0
    lucky_outliers: bool = False
    uncut: float = 0.05
    global_share: float | None = None
    knowledge_gradient: bool = True
    flat_rule: bool = True
    dud_model: bool = True
    crash_model: bool = True
    cost_model: bool = True
    percentile: bool = False
    only_new: bool = False
    max_cost: float | None = None
    prior: Prior = field(default_factory=Prior)
