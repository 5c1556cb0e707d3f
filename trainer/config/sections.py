"""Every key of every section: its type, bounds, default and one sentence. All help is made from here.

`[env]`, `[policy]` and `[rnn]` have no fixed keys: they are keyword arguments of the constructor they go to.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from trainer.config.fields import (
    Auto,
    Backend,
    BelowOne,
    CompileMode,
    CostKind,
    Count,
    CountFromZero,
    Device,
    Flag,
    Fraction,
    Goal,
    Indices,
    LauncherName,
    MetricDistribution,
    Names,
    NameWithNone,
    NotNegative,
    Objectives,
    OptimizerName,
    Positive,
    Precision,
    ScoreRule,
    Seed,
    Text,
)


class Section(BaseModel):
    """A frozen section; compares by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class BaseSection(Section):
    """Which environment is learnt by which policy."""

    package: Text | None = Field(
        None,
        description="Environment package: atari, procgen, ocean, gymnasium or envpool.",
    )
    env_name: Text | None = Field(
        None,
        description="The environment within its package; a file may list several, the first is the default.",
    )
    policy_name: Text = Field(
        "Policy",
        description="Policy class: Policy, Convolutional, ProcgenResnet, or your own as my_module:MyPolicy.",
    )
    rnn_name: Text | None = Field(
        None,
        description="Recurrent wrapper around the policy: LSTMWrapper; none for a policy without memory.",
    )


class VecSection(Section):
    """How many environments are stepped at once, and by whom."""

    backend: Backend = Field(
        "auto", description="Who steps the environments; auto takes the best that the environment supports."
    )
    num_envs: Count = Field(2, description="Number of environments stepped in parallel.")
    num_workers: Count | Auto = Field(
        "auto",
        description="Worker processes (or threads) that share the environments; auto is one per environment.",
    )
    batch_size: Count | Auto = Field(
        "auto",
        description="Environments per step; below num_envs the others step while the policy works.",
    )
    zero_copy: Flag = Field(
        True, description="Hand observations over in shared memory instead of copying them."
    )
    seed: Seed = Field(42, description="Seed of the environments; environment i gets seed + i.")
    timeout_seconds: Positive = Field(
        300.0, description="An environment that does not come back from a step for so long counts as hanging."
    )


class TrainSection(Section):
    """PPO and everything it runs on."""

    device: Device = Field("auto", description="Where the policy learns; auto takes CUDA where there is one.")
    seed: Seed = Field(42, description="Seed of the policy's weights, of sampled actions and of minibatches.")
    num_threads: Count | Auto = Field(
        "auto", description="CPU threads of this run; auto divides the cores among what runs side by side."
    )
    torch_deterministic: Flag = Field(
        True, description="Only deterministic CUDA kernels: repeatable, a bit slower."
    )
    tf32: Flag = Field(
        True, description="On CUDA, let float32 products round their inputs to TF32: quicker, ten bits."
    )
    cpu_offload: Flag = Field(
        False, description="Keep the observation buffer in host memory to save GPU memory."
    )
    precision: Precision = Field(
        "float32",
        description="Number format of the networks; weights stay float32. Auto is bfloat16 for the Convolutional "
        "policy on a CPU that multiplies it in hardware.",
    )
    compile: Flag = Field(False, description="Compile the policy and the update with torch.compile.")
    compile_mode: CompileMode = Field("max-autotune-no-cudagraphs", description="The mode of torch.compile.")
    compile_fullgraph: Flag = Field(True, description="Let torch.compile refuse to split a function's graph.")
    total_timesteps: Count = Field(100_000_000, description="Agent steps of the whole run.")
    batch_size: Count | Auto = Field(
        "auto", description="Agent steps per epoch (rollout and update); auto is agents x bptt_horizon."
    )
    bptt_horizon: Count | Auto = Field(
        64, description="Steps per segment, through which gradients flow; auto is batch_size / agents."
    )
    minibatch_size: Count = Field(
        16384, description="Agent steps per gradient step, a multiple of bptt_horizon."
    )
    num_minibatches: Count | None = Field(
        None, description="Minibatches per batch; where it is given, it settles minibatch_size."
    )
    max_minibatch_size: Count = Field(
        32768, description="Agent steps in memory at once; larger minibatches accumulate their gradients."
    )
    update_epochs: Count = Field(1, description="How often each batch is learnt from.")
    optimizer: OptimizerName = Field(
        "muon", description="The optimiser: adam, or muon with adam for vectors."
    )
    learning_rate: Positive = Field(0.015, description="Learning rate at the start of training.")
    anneal_lr: Flag = Field(
        True, description="Lower the learning rate along a cosine to min_lr_ratio of itself."
    )
    min_lr_ratio: Fraction = Field(
        0.0, description="Learning rate at the end, as a share of that at the start."
    )
    adam_beta1: BelowOne = Field(0.95, description="Decay of the gradient's running mean (momentum).")
    adam_beta2: BelowOne = Field(0.999, description="Decay of the squared gradient's running mean.")
    adam_eps: Positive = Field(
        1e-8, description="Added to the denominator of the optimiser's step for stability."
    )
    max_grad_norm: NotNegative = Field(1.5, description="Gradients longer than this are scaled down to it.")
    gamma: Fraction = Field(0.995, description="Discount of rewards per step.")
    gae_lambda: Fraction = Field(
        0.90, description="Weight of longer returns in the advantage (GAE's lambda)."
    )
    reward_clip: Positive | None = Field(
        None,
        description="Rewards are clipped to plus or minus this before they are learnt from; scores never are.",
    )
    clip_coef: NotNegative = Field(
        0.2, description="How far the policy's ratio may move before PPO clips it."
    )
    vf_coef: NotNegative = Field(2.0, description="Weight of the value loss.")
    vf_clip_coef: NotNegative = Field(
        0.2, description="How far a value may move from its old one before clipping."
    )
    ent_coef: NotNegative = Field(0.001, description="Weight of the entropy bonus.")
    vtrace_rho_clip: NotNegative = Field(
        1.0, description="V-trace: upper bound of the temporal difference's ratio."
    )
    vtrace_c_clip: NotNegative = Field(1.0, description="V-trace: upper bound of the trace's ratio.")
    prio_alpha: Fraction = Field(
        0.8, description="How strongly segments with large advantages are preferred; 0 samples uniformly."
    )
    prio_beta0: Fraction = Field(
        0.2, description="Initial strength of the correction for that preference; reaches 1 at the end."
    )
    data_dir: Text = Field("experiments", description="Folder of checkpoints and logs of single runs.")
    checkpoint_interval: Count = Field(200, description="Epochs between checkpoints.")
    restarts: Indices = Field(
        (),
        description="Epochs after which new episodes begin, as where a run was paused and went on from a checkpoint.",
    )
    name: Text | None = Field(None, description="A label of your own for the run.")
    project: Text | None = Field(None, description="A label of your own for a group of runs.")


class SweepKeys(Section):
    """The keys of `[sweep]` itself; the swept parameters stand in `[sweep.SECTION.KEY]`."""

    method: Text = Field(
        "thaw",
        description="Search method: thaw (this project's own), tpe, gp, random …; docs/search.md lists all.",
    )
    metric: Text = Field("score", description="The metric of the environment that is optimised.")
    goal: Goal = Field("maximize", description="Whether a larger or a smaller metric is better.")
    metric_distribution: MetricDistribution = Field(
        "linear", description="Whether the search sees scores as they are or as ranks among all trials."
    )
    score_rule: ScoreRule = Field(
        "last",
        description="A trial's score: mean of its last tenth, an evaluation at its end, or its curve's area.",
    )
    eval_episodes: Count = Field(20, description="Episodes of an evaluation.")
    objectives: Objectives = Field(("score",), description="What is optimised: score, or score and cost.")
    cost: CostKind = Field("uptime", description="What a trial costs: seconds of training, or agent steps.")
    downsample: Count = Field(5, description="Points of a learning curve that cost-aware methods learn from.")
    pruner: NameWithNone = Field(
        "promotion", description="Who stops or pauses bad trials early; none lets all run."
    )
    early_stop_quantile: Fraction | None = Field(
        0.3,
        description="Quantile of earlier runs at equal cost below which the quantile pruner stops a trial.",
    )
    prune_pareto: Flag = Field(
        True, description="Let Protein look only at the Pareto front of score and cost."
    )
    random_scale: Flag = Field(
        False, description="Let the method Random draw around each parameter's centre by its scale."
    )
    sweep_only: Names | None = Field(
        None,
        description="Sweep only these of the declared parameters, by full name (train.gamma) or last part.",
    )
    warm_start: Names = Field((), description="Studies whose trials inform this one.")
    enqueue: Names = Field(
        (),
        description="Configs to try first: INI files, or settings as `train.gamma=0.98 train.ent_coef=0.01`.",
    )
    max_runs: Count = Field(100, description="Configurations to start in all, over every continuation.")
    max_hours: Positive | None = Field(
        None,
        description="Wall-clock hours in all; then running trials are interrupted, and a larger budget resumes them.",
    )
    max_cost_seconds: Positive | None = Field(None, description="Training seconds of all trials together.")
    max_suggestion_cost: Positive = Field(
        3600.0,
        description="Seconds that one suggested trial may cost as far as cost-aware methods predict it.",
    )
    launcher: LauncherName = Field(
        "local", description="Where trials run: on this machine or on a Ray cluster."
    )
    ray_address: str | None = Field(
        None,
        description="Address of the Ray cluster, as in auto or 10.0.0.1:6379; None for one of this machine alone.",
    )
    workers: Count | Auto = Field(
        "auto", description="Trials side by side; auto is one per GPU slot, or what the CPU's cores allow."
    )
    use_gpu: Flag = Field(True, description="Let the search's own models use a GPU where there is one.")
    gpus: Indices | Auto = Field("auto", description="Indices of the GPUs to use; auto takes all.")
    trials_per_gpu: Count | Auto = Field(
        1, description="Trials that share one GPU; auto measures the first trial."
    )
    trial_timeout: Positive | None = Field(None, description="Seconds after which a trial is ended.")
    memory_limit_gb: Positive | None = Field(
        None, description="Memory in GiB that a trial may take on the host before it is ended."
    )
    hang_timeout: Positive = Field(
        300.0, description="Seconds of silence after which a trial counts as hanging."
    )
    retries: CountFromZero = Field(
        1, description="Further attempts per trial after failures that a retry can help."
    )
    max_consecutive_failures: Count = Field(5, description="So many failures in a row end the sweep.")
    confirm_top: CountFromZero = Field(
        0, description="Best configs that are trained again with fresh seeds at the end."
    )
    confirm_seeds: Count = Field(3, description="Fresh seeds per confirmed config.")
    video: Flag = Field(False, description="Record a video of the best trial so far.")
    keep_checkpoints: CountFromZero = Field(5, description="Best trials whose checkpoints are kept.")
    seed: Seed = Field(42, description="Seed of the search; each trial's train.seed follows from it.")


FREE_SECTIONS = ("env", "policy", "rnn")
"""Sections whose keys are checked against the constructor that they go to, not here."""

SECTION_MODELS: dict[str, type[Section]] = {
    "base": BaseSection,
    "vec": VecSection,
    "train": TrainSection,
    "sweep": SweepKeys,
}

SECTION_ORDER = ("base", "vec", "env", "policy", "rnn", "train", "sweep")
SWEPT_SECTIONS = ("train", "env", "policy", "rnn", "vec")
