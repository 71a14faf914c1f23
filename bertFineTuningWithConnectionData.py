"""Fine-tune a siamese BERT (Sentence-BERT) on your own sentence pairs, so that cosine similarity follows your scores.

Edit the constants below and run:  python bertFineTuningWithConnectionData.py
Each constant is also a flag for one run, for instance:  --train-file pairs.csv --epochs 2
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from connection import UserMistake
from connection.script.requirements import check_packages, check_python
from connection.script.settings import Settings, read_settings, run_script

if TYPE_CHECKING:
    from torch import Tensor
    from tqdm import tqdm

    from connection.encoder.folder import EncoderFolder
    from connection.reading.splits import Splits
    from connection.run.folder import Run
    from connection.script.interruption import Stop
    from connection.training.evaluation import Evaluation
    from connection.training.losses.cosine import Objective
    from connection.training.progress import Training
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset, PackedBatch

# torch and what builds on it are imported inside the functions: a wrong flag, a missing package or a bad row in a file
# is answered in a second, not after torch has loaded.

# --- encoder ---

# Folder of the encoder to start from: config.json, vocab.txt (or tokenizer.json) and model.safetensors (or
# pytorch_model.bin). A plain BERT, or a folder that this project or sentence-transformers saved.
ENCODER = "transformers/bert/bert-base-uncased"

# How token vectors become one sentence vector: mean, cls or max. Empty: as the folder says, mean for a plain BERT.
# Mean is the best start nearly always.
POOLING = ""

# Longer sentences are cut to this many tokens (a token is a word or a piece of one). At most what the encoder has
# positions for, 512 usually. Raise it for paragraphs; time and memory grow only with what sentences really hold.
MAX_TOKENS = 128

# --- data ---

# File of the pairs to learn from: CSV, TSV, JSON Lines or Parquet, by the ending of its name.
TRAIN_FILE = "data/connections-train.csv"

# Pairs that choose the best weights; never trained on. Empty: DEV_SHARE of the training pairs.
DEV_FILE = "data/connections-dev.csv"

# Pairs for the final figures; neither trained on nor chosen by. Empty: no test.
TEST_FILE = "data/connections-test.csv"

# Column of the first sentence: its name in the header, or its number, counting from 1, in files without a header.
SENTENCE1_COLUMN = "sentence1"

# Column of the second sentence, likewise.
SENTENCE2_COLUMN = "sentence2"

# Column of the score, likewise. The higher, the more alike the two sentences are meant to be.
SCORE_COLUMN = "score"

# The lowest and the highest score there can be; they become similarity 0 and 1. Use (0, 1) for yes/no labels.
SCORE_RANGE = (0, 5)

# The character between cells. Empty: by the file's ending, a comma in .csv and a tab in .tsv. ";" for many Excels.
SEPARATOR = ""

# Whether double quotes hold a cell together. False for files in which quotes are ordinary characters.
QUOTING = True

# The files' text encoding. "cp1252" or "cp949" for files that a Western or Korean Excel saved as plain CSV.
ENCODING = "utf-8"

# What to do about pairs of train that dev or test hold too: report them, drop them from train, or refuse to run.
OVERLAP = "report"

# Share of the training pairs that becomes dev where DEV_FILE is empty; no sentence is on both sides.
DEV_SHARE = 0.1

# --- training ---

# What is made smaller: cosine, the squared difference between cosine similarity and score.
LOSS = "cosine"

# Times that every pair is learned from. 1 to 4 is usual; 0 only evaluates.
EPOCHS = 4

# Pairs in one step. 16 or 32 is usual; less if memory runs out.
BATCH_SIZE = 16

# Highest learning rate. 2e-5 is usual for BERT, up to 5e-5; lower it if dev gets worse from the start.
LEARNING_RATE = 2e-5

# Share of all steps over which the learning rate rises from 0; then it falls to 0 in a straight line.
WARMUP = 0.1

# Pull of the weights towards 0 in AdamW; biases and LayerNorms are left out. 0.01 is another usual value.
WEIGHT_DECAY = 0.0

# A longer gradient is shortened to this length, so that one odd batch cannot undo much. 0: never shortened.
MAX_GRADIENT_NORM = 1.0

# Every random choice follows from it: row order, dropout, the dev split. Change it to see how much luck there is.
SEED = 42

# --- running ---

# Folder for what the run leaves. A finished run there is set aside under another name, never deleted.
OUTPUT = "output/connections"

# How often dev is evaluated in an epoch. More finds a better moment to stop in long epochs.
EVALUATIONS_PER_EPOCH = 1

# Stop after this many evaluations in a row without a better one. 0: never stop early.
PATIENCE = 0

# How often the run is saved in an epoch, so that it goes on from there if it is killed. More loses less then, and takes
# more time. Three of them, each up to four times the encoder's size, need room on the disk.
CHECKPOINTS_PER_EPOCH = 1

# Where to compute: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 (a card by its number) or mps.
DEVICE = "auto"

# Number format of the matrix products: float32, or bfloat16, which is faster on recent cards and processors.
PRECISION = "float32"

# Processor threads. 0: torch's own choice, one per core.
THREADS = 0

# Whether to write TensorBoard event files too, into OUTPUT/tensorboard (needs requirements-extra.txt).
TENSORBOARD = False

# True: begin anew although OUTPUT holds an unfinished or finished run; that one is set aside.
START_OVER = False


def main(arguments: list[str] | None = None) -> int:
    """One run, from files to result. Returns 0; raises UserMistake with a sentence for the person."""
    check_python()
    settings = read_settings(__file__, globals(), arguments)
    check_packages()
    from connection.disk.claim import claimed
    from connection.encoder.folder import inspect_encoder
    from connection.reading.pairs import Layout
    from connection.reading.splits import read_splits
    from connection.run.tensorboard_events import check_tensorboard
    from connection.script.interruption import stoppable

    # All that can be wrong with what the person gave is found here, before weights are loaded or a file is written.
    if settings.TENSORBOARD:
        check_tensorboard()
    folder = inspect_encoder(settings.ENCODER, settings.POOLING)
    splits = read_splits(
        settings.TRAIN_FILE,
        settings.DEV_FILE,
        settings.TEST_FILE,
        Layout(
            settings.SENTENCE1_COLUMN,
            settings.SENTENCE2_COLUMN,
            settings.SCORE_COLUMN,
            settings.SCORE_RANGE,
            settings.SEPARATOR,
            settings.QUOTING,
            settings.ENCODING,
        ),
        overlap=settings.OVERLAP,
        dev_share=settings.DEV_SHARE,
        seed=settings.SEED,
    )
    with stoppable() as stop, claimed(settings.OUTPUT):
        start(settings, folder, splits, stop)
    return 0


def start(settings: Settings, folder: EncoderFolder, splits: Splits, stop: Stop) -> None:
    """Look at OUTPUT, then leave it alone, make a run of it or go on with the one there."""
    from connection.disk.checkpoints import Checkpoints
    from connection.encoder.device import prepare_device
    from connection.run.folder import Run, Start, check_space, decide, describe_run, fingerprints, set_aside
    from connection.run.report import REPORT, write_report

    data_files = {name: getattr(settings, name) for name in ("TRAIN_FILE", "DEV_FILE", "TEST_FILE")}
    files = {"ENCODER": folder.files} | {name: {path.name: path} if path else {} for name, path in data_files.items()}
    description = describe_run(settings.as_json(), files)
    decision = decide(settings.OUTPUT, description, files, start_over=settings.START_OVER)
    if decision is Start.DONE:
        print(f"This run is complete and nothing has changed since: {settings.OUTPUT}")
        if not (settings.OUTPUT / REPORT).exists():
            write_report(settings.OUTPUT)
        return
    checkpoints = Checkpoints(settings.OUTPUT / "checkpoints", fingerprints(description))
    if decision is Start.CONTINUE and checkpoints.find_newest() is None:
        print(f"The unfinished run in {settings.OUTPUT} has no checkpoint yet: it begins again.")
    check_space(settings.OUTPUT, folder.weights, trains=settings.EPOCHS > 0, going_on=decision is Start.CONTINUE)
    device = prepare_device(settings.DEVICE, settings.PRECISION, settings.THREADS)
    clock = time.perf_counter()
    encoder, datasets = load(settings, splits)
    encoder.to(device)
    loading_seconds = time.perf_counter() - clock
    if decision is Start.SET_ASIDE:
        print(f"The run that lay in {settings.OUTPUT} is now in {set_aside(settings.OUTPUT)}.")
    run = Run(settings.OUTPUT, description, checkpoints, tensorboard=settings.TENSORBOARD)
    try:
        conduct(settings, run, splits, encoder, datasets, stop, loading_seconds)
    except BaseException:  # stopped, out of memory, a loss that is not finite: its curves may tell why
        write_report(run.folder)
        raise
    finally:
        run.close()


def load(settings: Settings, splits: Splits) -> tuple[ConnectionBert, dict[str, ConnectionDataset]]:
    """The encoder, and train, dev and test as its token ids."""
    import numpy as np

    from connection.reading.preview import encoder_text, token_text
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

    encoder = ConnectionBert.load(settings.ENCODER, pooling=settings.POOLING, max_tokens=settings.MAX_TOKENS)
    if encoder.max_tokens < settings.MAX_TOKENS:
        print(f"MAX_TOKENS {settings.MAX_TOKENS} is more than the encoder has positions for: {encoder.max_tokens} is used.")
    print(f"Encoder: {settings.ENCODER} ({encoder_text(encoder)})")
    datasets = {}
    for name, pairs in splits.named().items():
        table = pairs.table
        datasets[name] = ConnectionDataset(
            table["sentence1"].tolist(), table["sentence2"].tolist(), table["score"].to_numpy(), encoder.tokenize
        )
    told = datasets["train"]
    unknown = int((told.ids == encoder.tokenizer.unk_token_id).sum())
    print(token_text(np.diff(told.offsets), unknown, told.texts, told.cut, encoder.max_tokens))
    return encoder, datasets


def conduct(
    settings: Settings,
    run: Run,
    splits: Splits,
    encoder: ConnectionBert,
    datasets: dict[str, ConnectionDataset],
    stop: Stop,
    loading_seconds: float,
) -> None:
    """Evaluate, train, evaluate the best weights as they lie in best/, and leave the result in the run's folder."""
    from connection.encoder.device import is_out_of_memory
    from connection.training.evaluation import evaluate
    from connection.training.losses.cosine import OBJECTIVES
    from connection.training.progress import result_text, speed_text, summarise
    from ConnectionBert import ConnectionBert

    objective, held_out = OBJECTIVES[settings.LOSS], [name for name in datasets if name != "train"]
    try:
        before = {name: evaluate(encoder, datasets[name], objective) for name in held_out}
        refuse_broken_encoder(settings, before)
        tell_time(settings, run, encoder, datasets, before)
        with stop.held():
            training = train(settings, run, splits, encoder, datasets, before["dev"], stop)
        if training.best.step is None:
            run.keep_best(encoder.save)
        best = ConnectionBert.load(run.best, quiet=True).to(encoder.device)
        after = {name: evaluate(best, datasets[name], objective) for name in held_out}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserMistake(
            f"There is too little memory on {encoder.device}: make BATCH_SIZE ({settings.BATCH_SIZE}) or MAX_TOKENS "
            f"({settings.MAX_TOKENS}) smaller."
        ) from error
    pairs = {name: len(dataset) for name, dataset in datasets.items()}
    summary = summarise(settings.ENCODER.name, encoder.device, training, before, after, splits.overlap, pairs, loading_seconds)
    print(f"{result_text(training, before, after)}\n{speed_text(summary)}")
    leave_result(settings, run, splits, best, before, after, summary)
    print(f"The best encoder lies in {run.best}, and the run's report is {run.folder / 'report.html'}")


def leave_result(
    settings: Settings,
    run: Run,
    splits: Splits,
    best: ConnectionBert,
    before: dict[str, Evaluation],
    after: dict[str, Evaluation],
    summary: dict[str, Any],
) -> None:
    """Write what is known when all is computed; summary.json last, since with it the run is complete."""
    from connection.reading.preview import encoder_text
    from connection.reading.splits import prediction_rows
    from connection.run.model_card import model_card
    from connection.run.report import write_report
    from connection.training import calibration

    for name, evaluation in after.items():
        rows = prediction_rows(splits.named()[name], before[name].similarities, evaluation.similarities)
        run.write_table(f"predictions-{name}.csv", *rows)
    scores = splits.dev.table["score"].to_numpy()
    fitted = calibration.Calibration.fit(after["dev"].similarities, scores, settings.SCORE_RANGE)
    if fitted:
        run.write_json(f"best/{calibration.FILE}", fitted.as_json())
    card = model_card(encoder_text(best), run.description, summary, calibrated=fitted is not None)
    run.write_text("best/README.md", card)
    write_report(run.folder, summary)
    run.write_json("summary.json", summary)


def train(
    settings: Settings,
    run: Run,
    splits: Splits,
    encoder: ConnectionBert,
    datasets: dict[str, ConnectionDataset],
    dev_before: Evaluation,
    stop: Stop,
) -> Training:
    """The training loop, from the run's newest checkpoint on. When it returns, best/ holds the best weights, encoder the last.

    Raises Stopped, after a checkpoint, at the end of the step in which a signal came.
    """
    import torch
    from tqdm import tqdm

    from connection.randomness import STEP, derive_seed
    from connection.training.evaluation import evaluate
    from connection.training.losses.cosine import OBJECTIVES
    from connection.training.optimizer import learning_rate_at, make_optimizer, spread_steps
    from connection.training.progress import EpochRow, Training, format_time
    from connection.training.resume import resume_training, save_training
    from ConnectionDataset import epoch_loader

    objective, device = OBJECTIVES[settings.LOSS], encoder.device
    if not settings.WEIGHT_DECAY:
        encoder.train_rows_of(datasets["train"].ids)
    optimizer = make_optimizer(encoder, settings.WEIGHT_DECAY)
    steps_per_epoch = math.ceil(len(datasets["train"]) / settings.BATCH_SIZE)
    total_steps = settings.EPOCHS * steps_per_epoch
    evaluated_steps = spread_steps(steps_per_epoch, settings.EVALUATIONS_PER_EPOCH)
    saved_steps = spread_steps(steps_per_epoch, settings.CHECKPOINTS_PER_EPOCH)
    training = resume_training(run, encoder, optimizer)
    if training is None:
        training = Training()
        judge(run, encoder, training, dev_before)

    encoder.train()
    while training.step < total_steps and not training.over:
        finished_epochs, done = divmod(training.step, steps_per_epoch)  # done: steps of an epoch that was begun before
        epoch = finished_epochs + 1
        print(f"\n======== Epoch {epoch} / {settings.EPOCHS} ========")
        if not done:
            training.rows.append(EpochRow(epoch))
        loader = epoch_loader(datasets["train"], settings.BATCH_SIZE, settings.SEED, epoch, done)
        pairs = {"total": len(datasets["train"]), "initial": done * settings.BATCH_SIZE}
        with tqdm(**pairs, unit="pair", disable=None, dynamic_ncols=True) as bar:
            clock = time.perf_counter()
            for step_in_epoch, batch in enumerate(loader, start=done + 1):
                learning_rate = learning_rate_at(training.step, total_steps, settings.LEARNING_RATE, settings.WARMUP)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate
                # Dropout follows from the seed and the step alone: no evaluation, log or restart can shift it.
                torch.manual_seed(derive_seed(settings.SEED, STEP, training.step))
                batch = batch.to(device)
                loss = batch_loss(encoder, batch, objective, settings.PRECISION)
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(encoder.parameters(), settings.MAX_GRADIENT_NORM or math.inf)
                refuse_non_finite(training.step + 1, loss.item(), norm.item(), batch, splits)
                optimizer.step()
                optimizer.zero_grad()

                now = time.perf_counter()
                note_step(run, bar, training, batch, loss.item(), norm.item(), learning_rate, now - clock)
                clock = now
                if step_in_epoch in evaluated_steps:
                    judge(run, encoder, training, evaluate(encoder, datasets["dev"], objective))
                    training.over = 0 < settings.PATIENCE <= training.best.stale
                    clock = time.perf_counter()
                stopping = stop.asked is not None
                if step_in_epoch in saved_steps or training.over or stopping:
                    began = time.perf_counter()
                    save_training(run, training, encoder, optimizer)
                    clock = time.perf_counter()
                    training.saving_seconds += clock - began
                if stopping:
                    command = "the same command, without START_OVER," if settings.START_OVER else "the same command"
                    tqdm.write(f"Saved after step {training.step:,}: {command} goes on from there.")
                    stop.obey()
                if training.over:
                    tqdm.write(f"Stopped: {training.best.stale} evaluations without a better one (PATIENCE).")
                    break
        print(f"Training loss {training.rows[-1].mean_loss:.4f}. Elapsed: {format_time(training.train_seconds)}")
    return training


def note_step(
    run: Run,
    bar: tqdm,
    training: Training,
    batch: PackedBatch,
    loss: float,
    gradient_norm: float,
    learning_rate: float,
    seconds: float,
) -> None:
    """Count a step that took so many seconds, log it and move the bar."""
    pairs = len(batch.rows)
    training.count_step(pairs, len(batch.input_ids), loss, seconds)
    run.log(
        {
            "step": training.step,
            "epoch": training.epoch,
            "loss": loss,
            "learning_rate": learning_rate,
            "gradient_norm": gradient_norm,
            "pairs_per_second": pairs / seconds,
        }
    )
    bar.set_postfix(loss=f"{loss:.4f}", learning_rate=f"{learning_rate:.2e}", refresh=False)
    bar.update(pairs)


def batch_loss(encoder: ConnectionBert, batch: PackedBatch, objective: Objective, precision: str) -> Tensor:
    """The loss of B pairs, both sides of them in one forward. precision: of the matrix products."""
    import torch

    with torch.autocast(encoder.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        embeddings = encoder(batch)  # (2B, H)
    return objective(*embeddings.chunk(2), batch.scores)  # of sentence1 and of sentence2, (B, H) each


def tell_time(
    settings: Settings,
    run: Run,
    encoder: ConnectionBert,
    datasets: dict[str, ConnectionDataset],
    before: dict[str, Evaluation],
) -> None:
    """Say how long the run will take: before the first step, not after an hour."""
    from connection.reading.preview import padding_text, time_text, tried_seconds_per_token
    from connection.training.losses.cosine import OBJECTIVES
    from ConnectionDataset import epoch_loader

    objective, train = OBJECTIVES[settings.LOSS], datasets["train"]
    loader = epoch_loader(train, settings.BATCH_SIZE, settings.SEED, epoch=1)
    step_tokens = train.step_tokens(loader.batch_sampler)
    steps = settings.EPOCHS * len(loader) - (run.checkpoints.newest or 0)
    if not steps:
        return
    seconds = tried_seconds_per_token(encoder, loader, lambda batch: batch_loss(encoder, batch, objective, settings.PRECISION))
    evaluations = steps * min(settings.EVALUATIONS_PER_EPOCH, len(loader)) // len(loader) + 1
    print(time_text(steps, seconds * train.tokens / len(loader), evaluations, before["dev"].seconds))
    print(padding_text(step_tokens, encoder.rows_of(step_tokens) if settings.PRECISION == "float32" else step_tokens))


def refuse_broken_encoder(settings: Settings, before: dict[str, Evaluation]) -> None:
    """Raise UserMistake where the encoder, as it came, gives vectors that are not finite: no training mends that."""
    for name, evaluation in before.items():
        if not all(map(math.isfinite, evaluation.similarities)):
            raise UserMistake(
                f"{settings.ENCODER}: before any training this encoder gives vectors that are not finite for sentences of "
                f"{name}. Its weights are damaged: fetch them again."
            )


def refuse_non_finite(step: int, loss: float, gradient_norm: float, batch: PackedBatch, splits: Splits) -> None:
    """Raise UserMistake with the step and its rows before a loss or gradient that is not finite can reach the weights."""
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    lines = ", ".join(str(line) for line in splits.train.table["line"].iloc[batch.rows.tolist()])
    raise UserMistake(
        f"Step {step}: the loss is {loss:g} and the length of its gradient {gradient_norm:g}. Training stopped before they "
        f"reached the weights. The step's rows begin on these lines of {splits.train.path}: {lines}. Lower LEARNING_RATE, "
        "or look for what is odd in these rows."
    )


def judge(run: Run, encoder: ConnectionBert, training: Training, evaluation: Evaluation) -> None:
    """Log an evaluation of dev, tell it, and keep the weights if they are the best so far."""
    from tqdm import tqdm

    from connection.training.progress import format_time

    training.count_evaluation(evaluation)
    run.log({"step": training.step, "epoch": training.epoch, "split": "dev"} | evaluation.as_json())
    better = training.best.offer(training.step, evaluation.spearman)
    if better:
        clock = time.perf_counter()
        run.keep_best(encoder.save)
        training.saving_seconds += time.perf_counter() - clock
    when = f"After step {training.step:,}" if training.step else "Before training"
    tqdm.write(
        f"{when}: dev Spearman {evaluation.spearman:.4f}, Pearson {evaluation.pearson:.4f}, loss {evaluation.loss:.4f} "
        f"({format_time(evaluation.seconds)}){', the best so far' if better and training.step else ''}"
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
