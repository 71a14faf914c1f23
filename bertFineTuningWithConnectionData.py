"""Fine-tune a siamese BERT (Sentence-BERT) on your own sentence pairs, so that cosine similarity follows your scores.

Edit the constants below and run:  python bertFineTuningWithConnectionData.py
Each constant is also a flag for one run, for instance:  --train-file pairs.csv --epochs 2
"""

from __future__ import annotations

import contextlib
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from connection.constants import KINDS, TRAINING_DEFAULTS
from connection.script.environment import prepare_environment, refuse_ranks
from connection.script.requirements import check_packages, check_python
from connection.script.running import run_script
from connection.script.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from connection.disk.files import Digests
    from connection.encoder.folder import EncoderFolder
    from connection.reading.splits import Splits
    from connection.script.interruption import Stop
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from connection.training.progress import Training
    from connection.training.schedule import Schedule
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset, PackedPairs

# torch and what builds on it are imported inside the functions: a wrong flag, a missing package or a bad row in a file
# is answered in a second, not after torch has loaded.

# --- encoder ---

# Folder of the encoder to start from: a plain BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT, MPNet or ModernBERT,
# or what this project or sentence-transformers saved. It holds config.json, tokenizer.json (or vocab.txt) and
# model.safetensors (or pytorch_model.bin). A name such as "klue/bert-base" is also looked for in transformers/bert/.
ENCODER = "transformers/bert/bert-base-uncased"

# Pooling of token vectors into one sentence vector: mean, cls or max. Empty: the folder's own, mean for a plain BERT.
# Mean is nearly always the best start.
POOLING = ""

# Maximum length of a sentence in tokens (words or pieces of words); longer sentences are cut. 0: the folder's own
# limit, 128 for a plain BERT. The encoder's positions are the upper limit, usually 512. Raise it for paragraphs: time
# grows with the actual lengths, memory with the square of the longest.
MAX_TOKENS = 0

# Prompt: a text before every first sentence, for an encoder that was trained with one, such as "query: "; or the name of one
# in its folder. Empty: the folder's own, usually none. "none": no prompt. Scoring takes the same ones from best/.
SENTENCE1_PROMPT = ""

# The same for the second sentence.
SENTENCE2_PROMPT = ""

# --- data ---

# Training pairs: a CSV, TSV, Excel, JSON, Parquet or Arrow file, recognised by the ending of its name.
TRAIN_FILE = "data/connections-train.csv"

# Pairs for choosing the best weights; never trained on. Empty: DEV_SHARE of the training pairs is held out.
DEV_FILE = "data/connections-dev.csv"

# Pairs for the final figures; used neither for training nor for choosing the weights. Empty: no test.
TEST_FILE = "data/connections-test.csv"

# A second training file, beside scored pairs: pairs that belong together, without scores (a question and its answer). Each step
# takes BATCH_SIZE rows of it, too. Its columns have the same names. Empty: none.
POSITIVES_FILE = ""

# Column of the first sentence: its name in the header, or its number (from 1) in a file without a header. In JSON, Parquet
# and Arrow, "labels.score" is the field score within labels.
SENTENCE1_COLUMN = "sentence1"

# Column of the second sentence: name or number.
SENTENCE2_COLUMN = "sentence2"

# Column of the score: name or number. A higher score means more similar sentences. Empty: no scores; the sentences of each row
# belong together, such as a question and its answer, and the other rows' are what they are told from.
SCORE_COLUMN = "score"

# Columns of hard negatives, such as ("negative",): sentences that look like sentence2 but do not belong to sentence1. A cell
# may be empty. For pairs that belong together.
NEGATIVE_COLUMNS = ()

# Column of the class of each pair, such as entailment, neutral or contradiction; instead of a score. Empty: none.
LABEL_COLUMN = ""

# Lowest and highest possible score; they become similarity 0 and 1. Use (0, 1) for yes/no labels.
SCORE_RANGE = (0, 5)

# Text between cells, one or more characters. Empty: detected among , ; tab | and ||.
SEPARATOR = ""

# True: double quotes enclose a cell. False: they are ordinary characters, as in the original STS benchmark.
QUOTING = True

# Text encoding, such as "cp1252" (Western Excel) or "cp949" (Korean Excel). Empty: detected, and refused where unsure.
ENCODING = ""

# Decimal sign of the scores: "." or ",". Empty: a point, or a comma where that does not separate the cells.
DECIMAL = ""

# Sheet of an Excel workbook. Empty: the first one.
SHEET = ""

# Training pairs that are also in dev or test, which makes the figures look better than they are: report them, drop them
# from training, or refuse to run.
OVERLAP = "report"

# Share of the training pairs, between 0 and 1, that is held out as dev when DEV_FILE is empty. No sentence is on both
# sides; where too many rows share sentences for that, no sentence1, else no pair. Raise it for small files.
DEV_SHARE = 0.1

# --- training ---

# Training objective (loss function), such as "cosine", "cosent(scale=30)" or a sum, "cosine + 0.1 * in_batch". In brackets: its
# parameters. Empty: the usual one of the data: cosine for scores, in_batch for pairs that belong together, softmax for classes.
LOSS = ""

# Weight of the pairs of POSITIVES_FILE: their loss, in_batch, is multiplied by it and added.
POSITIVES_WEIGHT = 1.0

# Score from which a scored pair belongs together, for in_batch in LOSS. Empty: the upper fifth of SCORE_RANGE.
POSITIVE_SCORE = ""

# Lengths at which the first numbers of an embedding alone shall be good embeddings, too (Matryoshka), such as (64, 128): a
# shorter index or a faster search later. The loss is the sum over these lengths and the full one. (): the full one only.
DIMENSIONS = ()

# Passes over the training pairs. 1 to 4 is usual; 0 evaluates only.
EPOCHS = 4

# Pairs per step. 16 or 32 is usual for scores; in_batch learns more from 64 or more, since each pair is told from all others.
BATCH_SIZE = 16

# Pairs computed at a time, if a step of BATCH_SIZE does not fit into memory; each is then computed twice, and the result is
# that of the whole step. 0: all at once.
MEMORY_BATCH_SIZE = 0

# Peak learning rate. 2e-5 is usual for BERT, up to 5e-5; lower it if dev gets worse from the start.
LEARNING_RATE = 2e-5

# Warm-up: share of all steps in which the learning rate rises linearly from 0; then it falls linearly to 0. Raise it if
# the first steps are unstable.
WARMUP = 0.1

# Weight decay of AdamW; biases and LayerNorms are exempt. 0.01 is another usual value, against overfitting.
WEIGHT_DECAY = 0.0

# Gradient clipping: gradients are clipped to this norm, so that one odd batch cannot do much harm. 0: no clipping.
MAX_GRADIENT_NORM = 1.0

# Seed of every random choice: row order, dropout, the dev split. Change it to see how much results vary by chance.
SEED = 42

# --- running ---

# Folder for the results. A finished run that is already there is renamed, never deleted.
OUTPUT = "output/connections"

# Evaluations on dev per epoch. Raise it for long epochs, to find a better moment to stop.
EVALUATIONS_PER_EPOCH = 1

# Early stopping: stop after this many evaluations in a row without improvement. 0: no early stopping.
PATIENCE = 0

# Checkpoints per epoch, from which a killed run resumes. More checkpoints lose less work and cost more time. Up to
# three are kept at once, each up to four times the encoder's size.
CHECKPOINTS_PER_EPOCH = 1

# True: a finished run keeps its checkpoints, each up to four times the encoder's size. An unfinished run always has them.
KEEP_CHECKPOINTS = False

# Device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 (a GPU by its number) or mps.
DEVICE = "auto"

# Number format of the matrix products: float32; tf32, less exact and faster on NVIDIA GPUs since 2020; or bfloat16, less exact
# still and faster on recent GPUs and CPUs.
PRECISION = "float32"

# CPU threads. 0: one for each core that the process may use. Use 1 or 2 if other programs need the CPU.
THREADS = 0

# True: also write TensorBoard event files to OUTPUT/tensorboard (needs requirements-extra.txt).
TENSORBOARD = False

# True: start a new run although OUTPUT already holds one, finished or not; the old one is renamed.
START_OVER = False


def main(arguments: list[str] | None = None) -> int:
    """One run, from files to result. Returns 0; raises UserMistake with a message for the user."""
    check_python()
    settings = read_settings(__file__, globals(), KINDS, arguments)
    check_packages()
    refuse_ranks()
    prepare_environment(settings.THREADS)
    from connection.disk.claim import claimed
    from connection.disk.files import Digests
    from connection.encoder.folder import inspect_encoder
    from connection.run.start import adopt_unfinished, is_done
    from connection.run.tensorboard_events import check_tensorboard

    # All errors in constants and files are found here, before weights are loaded or a file is written.
    if settings.TENSORBOARD:
        check_tensorboard()
    adopt_unfinished(settings, TRAINING_DEFAULTS)
    folder = inspect_encoder(settings.ENCODER, settings.POOLING, (settings.SENTENCE1_PROMPT, settings.SENTENCE2_PROMPT))
    data_files = {
        "TRAIN_FILE": settings.TRAIN_FILE,
        "DEV_FILE": settings.DEV_FILE,
        "TEST_FILE": settings.TEST_FILE,
        "POSITIVES_FILE": settings.POSITIVES_FILE,
    }
    digests = Digests(
        {"ENCODER": folder.files} | {name: {path.name: path} if path else {} for name, path in data_files.items()}
    )
    if is_done(settings, digests):
        with claimed(settings.OUTPUT):
            leave_finished(settings)
        return 0

    from connection.reading.layout import Layout
    from connection.reading.splits import read_splits
    from connection.script.interruption import stoppable
    from connection.training.checks import refuse_long_dimensions, refuse_unfit_loss
    from connection.training.losses import USUAL

    splits = read_splits(
        {name.removesuffix("_FILE").lower(): path for name, path in data_files.items()},
        Layout.of(settings),
        overlap=settings.OVERLAP,
        dev_share=settings.DEV_SHARE,
        seed=settings.SEED,
    )
    loss = settings.LOSS or USUAL[splits.shape]
    refuse_unfit_loss(loss, splits, settings)
    refuse_long_dimensions(settings.DIMENSIONS, folder)
    with stoppable() as stop, claimed(settings.OUTPUT):
        start(settings, folder, splits, loss, digests, stop)
    return 0


def start(settings: Settings, folder: EncoderFolder, splits: Splits, loss: str, digests: Digests, stop: Stop) -> None:
    """Begin or resume the run in OUTPUT, or do nothing if it is complete. Raises UserMistake if OUTPUT cannot be used.

    loss: LOSS, or the usual one of these pairs. digests: of the input files.
    """
    from connection.disk.files import check_space, set_aside
    from connection.encoder.device import memory_errors_named, prepare_device
    from connection.encoder.weights import weights_bytes
    from connection.run.description import describe_run
    from connection.run.folder import Run
    from connection.run.report import write_report
    from connection.run.start import Decision, decide, find_checkpoints, tidy_finished
    from connection.training.job import Job
    from connection.training.objective import Objective

    prompts = dict(zip(("SENTENCE1_PROMPT", "SENTENCE2_PROMPT"), folder.pair_prompts, strict=True))
    own = {"POOLING": folder.own_pooling, "MAX_TOKENS": folder.own_max_tokens, "LOSS": loss}
    effective = {**own, **prompts, **splits.detected}
    description = describe_run(settings.as_json(), effective, TRAINING_DEFAULTS, digests.result())
    decision = decide(settings.OUTPUT, description, digests.files, start_over=settings.START_OVER)
    if decision is Decision.DONE:
        leave_finished(settings)
        return
    checkpoints = find_checkpoints(settings.OUTPUT, description, decision)
    resumes = decision is Decision.CONTINUE
    assert folder.weights is not None  # inspect_encoder has checked it
    check_space(settings.OUTPUT, weights_bytes(folder), trains=settings.EPOCHS > 0, going_on=resumes)
    device = prepare_device(settings.DEVICE, settings.PRECISION, settings.THREADS)
    with memory_errors_named(device, BATCH_SIZE=settings.BATCH_SIZE, MAX_TOKENS=settings.MAX_TOKENS or folder.own_max_tokens):
        encoder, datasets, seconds = load(settings, folder, splits, device, loss)
        if decision is Decision.SET_ASIDE:
            print(f"The earlier run in {settings.OUTPUT} is now in {set_aside(settings.OUTPUT)}.")
        run = Run(settings.OUTPUT, description, checkpoints, tensorboard=settings.TENSORBOARD)
        try:
            train, positives = datasets.pop("train"), datasets.pop("positives", None)
            objective = Objective(
                loss,
                encoder.dimension,
                dimensions=settings.DIMENSIONS,
                classes=len(splits.classes),
                seed=settings.SEED,
                positives_weight=settings.POSITIVES_WEIGHT,
            ).to(device)
            run_job(Job(settings, run, splits, encoder, train, datasets, objective, stop, seconds, positives))
            tidy_finished(settings)
        except BaseException:  # stopped, out of memory, non-finite loss: the curves may show why
            write_report(run.folder)
            raise
        finally:
            run.close()


def leave_finished(settings: Settings) -> None:
    """Say that OUTPUT holds this run, complete, and finish what a kill may have cut short after summary.json."""
    from connection.run.start import REPORT, tidy_finished

    print(f"This run is complete and nothing has changed since: {settings.OUTPUT}")
    tidy_finished(settings)
    if not (settings.OUTPUT / REPORT).exists():
        from connection.run.report import write_report

        write_report(settings.OUTPUT)


def load(
    settings: Settings, folder: EncoderFolder, splits: Splits, device: torch.device, loss: str
) -> tuple[ConnectionBert, dict[str, ConnectionDataset], float]:
    """The encoder on its device; the sets as token ids, by name; the seconds that both took. loss: as for `start`."""
    from connection.encoder.composition import composition_text
    from connection.encoder.device import move_checked
    from connection.encoder.preview import TokenCounts, UnknownPairs, encoder_text
    from connection.encoder.prompts import prompts_text
    from connection.reading.shape import Shape
    from connection.training.checks import positive_from
    from connection.training.losses.expression import chooses
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

    began = time.perf_counter()
    max_tokens = settings.MAX_TOKENS or folder.own_max_tokens
    prompts = (settings.SENTENCE1_PROMPT, settings.SENTENCE2_PROMPT)
    encoder = ConnectionBert.load(
        settings.ENCODER, pooling=settings.POOLING, prompts=prompts, max_tokens=max_tokens, whole=False
    )
    if encoder.max_tokens < settings.MAX_TOKENS:
        print(f"MAX_TOKENS {settings.MAX_TOKENS} is more than the encoder has positions for: {encoder.max_tokens} is used.")
    elif encoder.max_tokens < folder.own_max_tokens and not folder.is_plain:
        print(f"MAX_TOKENS {encoder.max_tokens} is less than the {folder.own_max_tokens} of ENCODER's folder; best/ keeps it.")
    print(f"Encoder: {settings.ENCODER} ({encoder_text(encoder)})")
    if encoder.pooling != folder.own_pooling:
        print(f"POOLING {encoder.pooling} replaces {folder.own_pooling}, with which this encoder was trained.")
    if any(encoder.pair_prompts):
        print(prompts_text(encoder.pair_prompts))
    sets = splits.named() | ({"positives": splits.positives} if splits.positives else {})
    counts, datasets = {name: TokenCounts(encoder.max_tokens) for name in sets}, {}
    least = positive_from(settings) if splits.shape is Shape.SCORED and chooses(loss) else None
    for name, pairs in sets.items():
        tokenize = partial(counts[name].tokenize, encoder)
        shape = splits.shape if name != "positives" else Shape.TOGETHER
        datasets[name] = ConnectionDataset.of(pairs.table, tokenize, encoder.pair_prompts, shape=shape, chooses_from=least)
    print(counts["train"].text())
    composed = sum(count.composed for count in counts.values())
    if composed:
        print(composition_text(composed))
    for name, pairs in sets.items():
        unknown = UnknownPairs.of(encoder, datasets[name], pairs.table["line"].tolist())
        if unknown.count:
            print(unknown.text(f"{len(pairs):,} {name} pairs", pairs.path))
    return move_checked(encoder, device), datasets, time.perf_counter() - began


def run_job(job: Job) -> None:
    """Evaluate, train, evaluate the weights in best/, and write the result into the run's folder."""
    from connection.run.result import write_result
    from connection.run.summary import result_text, speed_text, summarise
    from connection.training.checks import refuse_broken_encoder
    from connection.training.evaluation import evaluate
    from connection.training.resume import read_before, restore_initial
    from connection.training.schedule import Schedule
    from ConnectionBert import ConnectionBert

    settings, schedule = job.settings, Schedule.of(job.settings, rows=len(job.train))
    lengths = settings.DIMENSIONS
    evaluated = partial(evaluate, objective=job.loss, loss_rows=settings.BATCH_SIZE, seed=settings.SEED, dimensions=lengths)
    before = read_before(job.run) or {name: evaluated(job.encoder, dataset) for name, dataset in job.held_out.items()}
    refuse_broken_encoder(job, before)
    with job.stop.deferred():
        training = train(job, schedule, before)
    if training.best.step == 0 < training.step:
        restore_initial(job, partial(ConnectionBert.load, quiet=True, whole=False))
    if not training.best.step:  # no evaluation was better than the one before training, or all were undefined
        job.run.keep_best(job.save)
    best = ConnectionBert.load(job.run.best, quiet=True, whole=False).to(job.encoder.device)
    job.load_best_loss()
    after = {name: evaluated(best, dataset) for name, dataset in job.held_out.items()}
    summary = summarise(job, training, before, after)
    print(f"{result_text(job, training, before, after)}\n{speed_text(summary)}")
    write_result(job, best, before, after, summary)
    print(f"Best encoder: {job.run.best}\nReport: {job.run.folder / 'report.html'}")


def train(job: Job, schedule: Schedule, before: dict[str, Evaluation]) -> Training:
    """The training loop; resumes from the newest checkpoint. Afterwards the encoder has the last weights, and best/ the best,
    unless these are the initial ones.

    After a signal, it finishes the step, writes a checkpoint and raises Stopped.
    """
    from connection.encoder.ahead import on_device
    from connection.encoder.device import seed_generators
    from connection.randomness import STEP, derive_seed
    from connection.training.checks import refuse_non_finite
    from connection.training.evaluation import evaluate
    from connection.training.forecast import begin_forecast
    from connection.training.optimizer import make_optimizer, set_learning_rate
    from connection.training.record import begin_training, follow_epochs, obey_stop, record_evaluation, record_step
    from connection.training.replay import replayed
    from connection.training.resume import resume_training, save_training
    from ConnectionDataset import epoch_loader, remaining_batches

    settings, encoder, stop = job.settings, job.encoder, job.stop
    if not settings.WEIGHT_DECAY:
        encoder.train_rows_of(job.trained_ids)  # those of other tokens would never change
    optimizer = make_optimizer(encoder, settings.WEIGHT_DECAY, job.loss)
    training = resume_training(job, optimizer) or begin_training(job, before)
    epoch = epoch_loader(job.train, settings.BATCH_SIZE, settings.SEED, epoch=1, positives=job.positives)
    forecast = begin_forecast(job, schedule, epoch.step_tokens(), before["dev"])
    compute: Callable[[PackedPairs], Tensor] = partial(loss_and_gradients, job)
    if not settings.MEMORY_BATCH_SIZE:  # else a step draws the same random numbers twice, which no CUDA graph does
        compute = replayed(compute, job.trained, encoder)
    rows_and_steps = (settings.BATCH_SIZE, settings.SEED, settings.EPOCHS, training.step)
    fill = encoder.device.type == "cuda"  # CUDA graphs have fixed shapes
    batches = remaining_batches(job.train, *rows_and_steps, positives=job.positives, fill=fill)
    stream = on_device(batches, encoder.device)

    encoder.train()
    with contextlib.closing(follow_epochs(stream, schedule, training, len(job.train))) as batches:
        for batch in batches:
            learning_rate = schedule.learning_rate(training.step)
            set_learning_rate(optimizer, learning_rate)
            # Dropout depends on seed and step only, so evaluations, logging and restarts do not change it.
            seed_generators(encoder.device, derive_seed(settings.SEED, STEP, training.step))
            loss, norm = compute(batch).tolist()  # the only wait for a card in a step
            refuse_non_finite(job, training.step + 1, batch, loss, norm)
            optimizer.step()
            optimizer.zero_grad()
            seconds = record_step(job, training, batch, loss, norm, learning_rate)
            forecast.count(training.step, batch.tokens, seconds)

            if schedule.evaluates_after(training.step):
                dev = evaluate(encoder, job.held_out["dev"], job.loss, loss_rows=settings.BATCH_SIZE, seed=settings.SEED)
                record_evaluation(job, training, dev)
                training.over = 0 < settings.PATIENCE <= training.best.stale
            stopping = stop.asked is not None
            if schedule.saves_after(training.step) or training.over or stopping:
                save_training(job, training, optimizer)
            if stopping:
                obey_stop(job, training)
    return training


def loss_and_gradients(job: Job, batch: PackedPairs) -> Tensor:
    """The loss of a batch and the norm of its gradients, (2,); leaves the gradients in the weights, clipped."""
    import torch

    from connection.training.optimizer import clip_gradients

    loss = backward(job, batch)
    norm = clip_gradients(job.trained.values(), job.settings.MAX_GRADIENT_NORM)
    return torch.stack((loss.detach(), norm))


def backward(job: Job, batch: PackedPairs) -> Tensor:
    """The loss of a batch, with all its sentences in one forward pass, or in parts; leaves the gradients in the weights."""
    from connection.encoder.packed.products import products_in
    from connection.training.memory import backward_in_parts

    settings, encoder = job.settings, job.encoder
    batch = batch.to(encoder.device)
    count = -(-len(batch.rows) // settings.MEMORY_BATCH_SIZE) if settings.MEMORY_BATCH_SIZE else 1
    with products_in(settings.PRECISION, encoder.device):
        if count > 1:
            return backward_in_parts(encoder, batch, count, lambda embeddings: job.loss(batch.parts(embeddings)))
        embeddings = encoder(batch)  # (N, H)
    loss: Tensor = job.loss(batch.parts(embeddings))
    loss.backward()
    return loss


if __name__ == "__main__":
    sys.exit(run_script(main))
