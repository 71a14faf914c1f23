"""The mutations that `tests/mutations.py` makes: each line of the product that it breaks, and the tests that should notice."""

from __future__ import annotations

from dataclasses import dataclass

SCRIPT = "bertFineTuningWithConnectionData.py"
LOOP = ("tests/training/test_loop.py",)
RESUME = ("tests/training/test_resume.py",)
TRAINING = ("tests/test_training.py",)
LAYER = ("tests/encoder/test_packed_layer.py",)
SCORING = ("tests/use",)
LOSS = ("tests/training/test_loss.py",)
CANDIDATES = ("tests/training/test_candidates.py",)
RETRIEVAL = ("tests/training/test_retrieval.py",)
MINING = ("tests/use/test_mining.py",)
PRODUCTS = ("tests/use/test_products.py",)
ENGINES = ("tests/use/search/test_engines.py",)
CLOSEST = ("tests/use/search/test_closest.py",)
SESSION = ("tests/use/search/test_session.py",)
CARD = ("tests/encoder/test_blocks.py",)
FAMILIES = ("tests/encoder/test_families.py",)
TOKENIZERS = ("tests/encoder/test_tokenizers.py",)
STARTS = ("tests/run/test_run.py", "tests/run/test_description.py")


@dataclass(frozen=True)
class Mutation:
    """In `file`, `old` (which stands there once) becomes `new`; one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = [
    # --- the loop
    Mutation("no warm-up", "connection/training/schedule.py", "settings.WARMUP, evaluated", "0.0, evaluated", LOOP),
    Mutation(
        "learning rate a step ahead",
        SCRIPT,
        "schedule.learning_rate(training.step)",
        "schedule.learning_rate(training.step + 1)",
        LOOP,
    ),
    Mutation(
        "weight decay ignored",
        SCRIPT,
        "make_optimizer(encoder, settings.WEIGHT_DECAY, job.loss)",
        "make_optimizer(encoder, 0.0, job.loss)",
        LOOP,
    ),
    Mutation(
        "rate set in the first group only",
        "connection/training/optimizer.py",
        "for group in optimizer.param_groups:",
        "for group in optimizer.param_groups[:1]:",
        LOOP,
    ),
    Mutation("never clipped", SCRIPT, "job.settings.MAX_GRADIENT_NORM)", "0)", LOOP),
    Mutation(
        "clipped to 0 where it is off",
        "connection/training/optimizer.py",
        "if 0 < limit < norm:",
        "if limit < norm:",
        ("tests/training/test_loop.py",),
    ),
    Mutation("gradients pile up", SCRIPT, "            optimizer.zero_grad()\n", "", LOOP),
    Mutation(
        "biases decay too",
        "connection/training/optimizer.py",
        '{"params": others, "weight_decay": 0.0}',
        '{"params": others, "weight_decay": weight_decay}',
        LOOP,
    ),
    Mutation(
        "no seed each step",
        SCRIPT,
        "            seed_generators(encoder.device, derive_seed(settings.SEED, STEP, training.step))\n",
        "",
        RESUME,
    ),
    Mutation(
        "every step has the same dropout",
        SCRIPT,
        "derive_seed(settings.SEED, STEP, training.step)",
        "derive_seed(settings.SEED, STEP, 0)",
        ("tests/training/test_loop.py",),
    ),
    Mutation(
        "every epoch in the same order",
        "ConnectionDataset.py",
        "yield from epoch_loader(dataset, batch_size, seed, epoch, first, positives=positives, fill=fill)",
        "yield from epoch_loader(dataset, batch_size, seed, 1, first, positives=positives, fill=fill)",
        LOOP,
    ),
    Mutation(
        "an epoch that was begun begins again",
        "ConnectionDataset.py",
        "yield from epoch_loader(dataset, batch_size, seed, epoch, first, positives=positives, fill=fill)",
        "yield from epoch_loader(dataset, batch_size, seed, epoch, 0, positives=positives, fill=fill)",
        RESUME,
    ),
    Mutation(
        "evaluated in training mode after the first", "ConnectionBert.py", "    module.eval()\n", "", ("tests/test_encoder.py",)
    ),
    Mutation("trained without dropout", SCRIPT, "    encoder.train()\n", "", ("tests/training/test_loop.py",)),
    Mutation(
        "a loss that is not finite reaches the weights",
        SCRIPT,
        "            refuse_non_finite(job, training.step + 1, batch, loss, norm)\n",
        "",
        TRAINING,
    ),
    Mutation(
        "patience one too long",
        SCRIPT,
        "0 < settings.PATIENCE <= training.best.stale",
        "0 < settings.PATIENCE < training.best.stale",
        TRAINING,
    ),
    Mutation(
        "a tie takes the later weights",
        "connection/training/progress.py",
        "if score > self.value:",
        "if score >= self.value:",
        ("tests/training/test_evaluation.py",),
    ),
    Mutation(
        "a stop forgets to save",
        SCRIPT,
        "or training.over or stopping:",
        "or training.over:",
        ("tests/test_faults.py::test_a_signal_finishes_the_step_saves_and_exits",),
    ),
    Mutation(
        "best/ holds the last weights",
        "connection/training/record.py",
        "    if better and training.step:\n",
        "    if training.step:\n",
        TRAINING,
    ),
    # --- precision, threads, memory, figures
    Mutation(
        "PRECISION of scoring ignored",
        "connection/use/scoring.py",
        "products_in(self.precision, ",
        'products_in("float32", ',
        SCORING,
    ),
    Mutation(
        "unknown sentences in the cache forgotten",
        "connection/use/scoring.py",
        "{sentence for sentence in self.unknown if sentence in self.cache}",
        "set()",
        SCORING,
    ),
    Mutation("PRECISION of training ignored", SCRIPT, "products_in(settings.PRECISION, ", 'products_in("float32", ', TRAINING),
    Mutation(
        "THREADS ignored",
        "connection/encoder/device.py",
        "        torch.set_num_threads(threads or usable_cpus())\n",
        "        pass\n",
        ("tests/encoder/test_device.py",),
    ),
    Mutation(
        "tokens at once of CPU and card exchanged",
        "ConnectionBert.py",
        "TOKENS_AT_ONCE_ON_CPU, TOKENS_AT_ONCE_ON_CARD = 1024, 32_768",
        "TOKENS_AT_ONCE_ON_CARD, TOKENS_AT_ONCE_ON_CPU = 1024, 32_768",
        ("tests/encoder/test_device.py",),
    ),
    Mutation(
        "tokens a second from pairs",
        "connection/run/summary.py",
        "training.tokens / seconds",
        "training.pairs / seconds",
        ("tests/run/test_summary.py",),
    ),
    Mutation(
        "evaluation_seconds 0",
        "connection/run/summary.py",
        "sum(row.evaluation_seconds for row in training.rows) + sum(e.seconds for e in evaluations)",
        "0.0",
        ("tests/run/test_summary.py",),
    ),
    Mutation(
        "peak_memory_bytes 1", "connection/run/summary.py", "peak_memory_bytes(device),", "1,", ("tests/run/test_summary.py",)
    ),
    Mutation(
        "room for the weights only",
        "connection/disk/files.py",
        "(2 + 3 * 4 * trains) * weights",
        "1 * weights",
        ("tests/disk/test_files.py",),
    ),
    # --- the layers by hand
    Mutation("gradient of padding", "connection/encoder/packed/layer.py", ".index_fill_(0, plan.padding, 0)", "", LAYER),
    Mutation(
        "no mask in the gradient of attention",
        "connection/encoder/packed/layer.py",
        "d_p if mask is None else d_p.mul_(mask), p",
        "d_p, p",
        LAYER,
    ),
    Mutation(
        "attention not scaled backward", "connection/encoder/packed/layer.py", "        d_scores.mul_(plan.scale)\n", "", LAYER
    ),
    Mutation(
        "one LayerNorm's gradient for another",
        "connection/encoder/packed/layer.py",
        "_layer_norm_backward(d_middle, first, size, mean1, scale1, g1, b1",
        "_layer_norm_backward(d_middle, first, size, mean2, scale2, g1, b1",
        LAYER,
    ),
    Mutation(
        "dropout too large by its scale", "connection/encoder/packed/dropout.py", "_LEVELS / (_LEVELS - dropped)", "1.0", LAYER
    ),
    Mutation(
        "untrained rows returned in the order of the table",
        "connection/encoder/packed/trained_rows.py",
        "return torch.cat([self.rows, self.rest])[self.row_of]",
        "return torch.cat([self.rows, self.rest])",
        LAYER,
    ),
    # --- losses
    Mutation(
        "loss: equal scores are an order",
        "connection/training/losses/cosent.py",
        "scores[:, None] <= scores[None, :]",
        "scores[:, None] < scores[None, :]",
        LOSS,
    ),
    Mutation("loss: no sine", "connection/training/losses/angle.py", "(b * c - a * d)", "(b * c - b * c)", LOSS),
    Mutation(
        "loss: all pairs are hard",
        "connection/training/losses/online_contrastive.py",
        "yes & (distances > nearest_no)",
        "yes",
        LOSS,
    ),
    Mutation("loss: half forgotten", "connection/training/losses/contrastive.py", "losses.mean() / 2", "losses.mean()", LOSS),
    Mutation(
        "loss: parameters ignored",
        "connection/training/objective.py",
        "return partial(function, **parameters) if parameters else function",
        "return function",
        LOSS,
    ),
    Mutation(
        "loss: labels between yes and no are learnt",
        SCRIPT,
        "    refuse_unfit_loss(loss, splits, settings)\n",
        "",
        TRAINING,
    ),
    Mutation(
        "loss: the full length left out",
        "connection/training/losses/matryoshka.py",
        "sorted({*dimensions, full}, reverse=True)",
        "sorted({*dimensions}, reverse=True) or [full]",
        LOSS,
    ),
    Mutation(
        "evaluation: pairs of a row are unrelated",
        "connection/training/collapse.py",
        "np.setdiff1d(first * sentences + second, rows)",
        "first * sentences + second",
        ("tests/training/test_collapse.py",),
    ),
    # --- pairs that belong together
    Mutation(
        "a known answer is a negative",
        "connection/training/candidates.py",
        "excluded = known.between(first, candidates) | (first[:, None] == candidates)",
        "excluded = first[:, None] == candidates",
        CANDIDATES,
    ),
    Mutation(
        "a pair is known in one order only",
        "connection/training/candidates.py",
        "np.concatenate([sides @ [sentences, 1], sides @ [1, sentences]])",
        "sides @ [sentences, 1]",
        CANDIDATES,
    ),
    Mutation(
        "a repeated question counts twice",
        "connection/training/candidates.py",
        "    repeats[np.unique(first, return_index=True)[1]] = False\n",
        "    repeats[:] = False\n",
        CANDIDATES,
    ),
    Mutation(
        "what fills a batch up is a candidate",
        "connection/training/candidates.py",
        "(0, missing), value=True)",
        "(0, missing), value=False)",
        CANDIDATES,
    ),
    Mutation(
        "a sentence finds itself",
        "connection/training/retrieval.py",
        "if is_candidate[number] and place[number] not in own:",
        "if False:",
        RETRIEVAL,
    ),
    Mutation(
        "equal similarities share the best rank",
        "connection/training/retrieval.py",
        " + np.count_nonzero(row[:hit] == row[hit])",
        "",
        RETRIEVAL,
    ),
    Mutation(
        "the second pass has a dropout of its own",
        "connection/training/memory.py",
        "        _set_random_state(device, state)\n",
        "",
        RETRIEVAL,
    ),
    Mutation(
        "a pair of the file is unrelated",
        "connection/training/collapse.py",
        "codes = np.setdiff1d(first * sentences + second, rows)",
        "codes = first * sentences + second",
        ("tests/training/test_collapse.py",),
    ),
    # --- hard negatives
    Mutation(
        "an answer of the other order is mined",
        "connection/use/mining.py",
        "np.concatenate([pairs, pairs[:, ::-1], np.stack([first, first], axis=1)])",
        "np.concatenate([pairs, np.stack([first, first], axis=1)])",
        MINING,
    ),
    Mutation(
        "a sentence is its own negative",
        "connection/use/mining.py",
        "np.concatenate([pairs, pairs[:, ::-1], np.stack([first, first], axis=1)])",
        "np.concatenate([pairs, pairs[:, ::-1]])",
        MINING,
    ),
    Mutation(
        "MOST_ALIKE compares with the question",
        "connection/use/mining.py",
        "similarities_of(own_vectors, vectors) > self",
        "similarities_of(queries, vectors) > self",
        MINING,
    ),
    Mutation(
        "RELATIVE_MARGIN of a negative similarity",
        "connection/use/mining.py",
        "own - np.abs(own) * rules.relative_margin",
        "own - own * rules.relative_margin",
        MINING,
    ),
    Mutation(
        "lower ranks are not left out",
        "connection/use/mining.py",
        "slice(self.rules.ranks[0] - 1, None)",
        "slice(None)",
        MINING,
    ),
    Mutation(
        "the later of two equally near ones",
        "connection/use/nearest.py",
        "np.lexsort((-values_all, rows_all))",
        "np.lexsort((-numbers_all, -values_all, rows_all))",
        MINING,
    ),
    Mutation(
        "the first block only",
        "connection/use/nearest.py",
        "        start += len(vectors)\n",
        "",
        MINING,
    ),
    # --- search
    Mutation(
        "search: columns are rounded without a margin",
        "connection/use/products.py",
        "errors + (1 + errors) * columns.errors.max() + error_bound",
        "errors + error_bound",
        PRODUCTS,
    ),
    Mutation(
        "search: only the margin of columns",
        "connection/use/products.py",
        "errors + (1 + errors) * columns.errors.max() + error_bound",
        "(1 + errors) * columns.errors.max() + error_bound",
        PRODUCTS,
    ),
    Mutation("search: a vector with itself", "connection/use/products.py", ".tril(diagonal)", ".tril(diagonal - 1)", PRODUCTS),
    Mutation(
        "search: fillers are columns",
        "connection/use/products.py",
        "        values[:, columns.count :] = -(2**31)\n",
        "",
        PRODUCTS,
    ),
    Mutation(
        "search: integers also where they leave too much",
        "connection/use/nearest.py",
        "<= scores.values.numel() * MOST_LEFT",
        ">= 0",
        PRODUCTS,
    ),
    Mutation(
        "search: limits of the first block without a margin",
        "connection/use/products.py",
        "self.scales[rows] * values - self.margins[rows]",
        "self.scales[rows] * values + 9 * self.margins[rows]",
        (*PRODUCTS, *CLOSEST),
    ),
    Mutation(
        "search: closest pairs come twice",
        "connection/use/search/closest.py",
        "np.concatenate([[True], ~repeats])",
        "np.concatenate([[True], repeats == repeats])",
        CLOSEST,
    ),
    Mutation(
        "search: the least of pairs is forgotten",
        "connection/use/search/closest.py",
        "keep = pairs.similarities >= self.least",
        "keep = pairs.similarities >= -1",
        CLOSEST,
    ),
    Mutation(
        "search: known sentences are encoded anew",
        "connection/use/search/building.py",
        "            missing &= ~here\n",
        "",
        ENGINES,
    ),
    Mutation(
        "search: a corpus that changes is not noticed",
        "connection/use/search/corpus.py",
        "corpus.keys[corpus.rows[count]] != key_of(text)",
        "False",
        SESSION,
    ),
    Mutation(
        "search: a corpus that grows is not noticed",
        "connection/use/search/corpus.py",
        "if count == len(corpus.rows) or",
        "if count == len(corpus.rows): break\n        if",
        SESSION,
    ),
    Mutation(
        "search: another encoder is taken",
        "connection/use/search/fingerprint.py",
        "    if differs:",
        "    if False:",
        ENGINES,
    ),
    Mutation(
        "search: damage goes unnoticed",
        "connection/use/search/index.py",
        "            self._check(name, file)\n",
        "            pass\n",
        SESSION,
    ),
    Mutation(
        "search: what has gone stays in the graph",
        "connection/use/search/engines/hnsw.py",
        "                    graph.mark_deleted(label)\n",
        "                    pass\n",
        ENGINES,
    ),
    Mutation(
        "search: what has gone stays in Milvus",
        "connection/use/search/session.py",
        "        self.engine.tidy()\n        builder.tidy()\n",
        "        builder.tidy()\n",
        ENGINES,
    ),
    Mutation(
        "search: a query with the prompt of the corpus",
        "connection/use/search/session.py",
        "self.prompts[0] + query for query",
        "self.prompts[1] + query for query",
        SESSION,
    ),
    Mutation(
        "search: two processes write",
        "connection/use/search/session.py",
        'with claimed(self.settings.INDEX, "INDEX"):',
        "if True:",
        SESSION,
    ),
    Mutation(
        "search: a full disk is met while writing",
        "connection/use/search/building.py",
        "        if free < needed:",
        "        if False:",
        SESSION,
    ),
    Mutation(
        "what is skipped is found",
        "connection/use/nearest.py",
        "    scores = rows.exact(vectors)\n    scores.skip(known[:, 0], known[:, 1])\n",
        "    scores = rows.exact(vectors)\n",
        MINING,
    ),
    Mutation(
        "a row that changed is written",
        "connection/use/mined.py",
        "if written == len(self.sentences) or self.sentences.row(written) != (row.sentence1, row.sentence2):",
        "if written == len(self.sentences):",
        MINING,
    ),
    # --- the report
    Mutation(
        "test chooses its own threshold",
        "connection/run/report_sets.py",
        'if name == "dev" and metrics:',
        "if False:",
        ("tests/run",),
    ),
    Mutation(
        "macro F1 of the given classes only",
        "connection/run/report_sets.py",
        "pairs, right = Counter(given) + Counter(found), ",
        "pairs, right = Counter(given) + Counter(given), ",
        ("tests/run/test_report_sets.py",),
    ),
    # --- what runs on a card
    Mutation(
        "card: padding seen by attention",
        "connection/encoder/packed/blocks.py",
        "np.where(is_token, np.float32(0), np.float32(-np.inf))",
        "np.where(is_token, np.float32(0), np.float32(0))",
        CARD,
    ),
    Mutation(
        "card: the gradient of the first sentence only",
        "connection/encoder/packed/blocks.py",
        "return gradient.index_select(0, *ctx.saved_tensors), None, None",
        "return gradient[: len(ctx.saved_tensors[0])], None, None",
        CARD,
    ),
    Mutation(
        "card: the mean counts padding",
        "connection/encoder/packed/pooling.py",
        "(tokens * block.kept).sum(dim=1)",
        "tokens.sum(dim=1)",
        CARD,
    ),
    Mutation(
        "card: fillers are sentences of the batch",
        "ConnectionDataset.py",
        "order=torch.from_numpy(order[:count]),",
        "order=torch.from_numpy(order),",
        CARD,
    ),
    Mutation(
        "card: no dropout after attention",
        "connection/encoder/packed/composed.py",
        "training and dropouts.after_attention",
        "False",
        CARD,
    ),
    Mutation(
        "card: shapes as many as batches",
        "connection/encoder/packed/blocks.py",
        "_divided(lengths) if few_shapes else _by_cost(groups)",
        "_by_cost(groups)",
        CARD,
    ),
    Mutation(
        "card: the last prepared batch is lost",
        "connection/encoder/ahead.py",
        "while (batch := future.result()) is not None:",
        "while (batch := future.result()) is not None and not (future := thread.submit(prepare)).result() is None:",
        CARD,
    ),
    # --- families, tokenizers, folders of encoders
    Mutation(
        "encoder: positions of RoBERTa one too low",
        "connection/encoder/families/roberta.py",
        "positions + (padding + 1) - before",
        "positions + padding - before",
        FAMILIES,
    ),
    Mutation(
        "encoder: the bias by distance is not trained",
        "connection/encoder/packed/layer.py",
        "+= group.by_head(d_scores).sum(0)",
        "+= 0 * group.by_head(d_scores).sum(0)",
        FAMILIES,
    ),
    Mutation(
        "encoder: narrow embeddings projected wrongly",
        "connection/encoder/families/electra.py",
        "embedded if projection is None else projection(embedded)",
        "embedded if projection is None else projection(embedded) * 1.001",
        FAMILIES,
    ),
    Mutation(
        "encoder: one upper-case piece makes a vocabulary cased",
        "connection/encoder/casing.py",
        "lower_case = upper < LEAST_SHARE * max(cased, 1)",
        "lower_case = not upper",
        TOKENIZERS,
    ),
    Mutation(
        "encoder: a class of its own is read as BERT's",
        "connection/encoder/tokenizer.py",
        "_CLASSES[file].get(named)",
        '_CLASSES[file].get(named, "BertTokenizer")',
        TOKENIZERS,
    ),
    Mutation(
        "encoder: bytes taken for letters",
        "connection/encoder/composition.py",
        "if self._is_byte_level:",
        "if False:",
        TOKENIZERS,
    ),
    Mutation(
        "encoder: names with another beginning are left out",
        "connection/encoder/weights.py",
        "    if other is not None:",
        "    if False:",
        ("tests/encoder/test_diagnosis.py",),
    ),
    Mutation(
        "encoder: the prompt of one side for both",
        "ConnectionDataset.py",
        'second = prompted(table["sentence2"], prompts[1])',
        'second = prompted(table["sentence2"], prompts[0])',
        ("tests/encoder/test_prompts.py",),
    ),
    # --- data
    Mutation(
        "scores not scaled",
        "connection/reading/scores.py",
        "            if self.low <= score <= self.high:\n                return (score - self.low) / (self.high - self.low)",
        "            if self.low <= score <= self.high:\n                return score - self.low",
        ("tests/reading/test_pairs.py",),
    ),
    Mutation(
        "overlap by the letter only",
        "connection/reading/overlap.py",
        'return " ".join(normalised.casefold().split())',
        "return normalised",
        ("tests/reading/test_overlap.py",),
    ),
    Mutation(
        "a dev of a few rows is enough",
        "connection/reading/overlap.py",
        "is_large = 2 * len(split.dev) >= wanted",
        "is_large = True",
        ("tests/reading/test_overlap.py",),
    ),
    Mutation(
        "a pair on both sides of the dev split",
        "connection/reading/overlap.py",
        "list(zip(first_sentences, keys, strict=True))",
        "[(first, first) for first in first_sentences]",
        ("tests/reading/test_overlap.py",),
    ),
    Mutation(
        "composed what the vocabulary lacks",
        "connection/encoder/composition.py",
        "if new and new <= self.characters",
        "if new",
        ("tests/encoder/test_composition.py",),
    ),
    Mutation(
        "decomposed text not composed",
        "ConnectionBert.py",
        "for part in parts(self.compose(sentences))",
        "for part in parts(sentences)",
        ("tests/encoder/test_composition.py",),
    ),
    Mutation(
        "a guard before formulas is not written",
        "connection/reading/formats/text/csv_output.py",
        "writer.writerow([with_guard(cell) for cell in cells])",
        "writer.writerow(cells)",
        ("tests/reading/test_pairs.py",),
    ),
    Mutation(
        "ties share no rank",
        "connection/training/correlations.py",
        ".rank()",
        '.rank(method="first")',
        ("tests/training/test_evaluation.py",),
    ),
    # --- runs and disk
    Mutation(
        "moments not restored",
        "connection/training/optimizer.py",
        "            value.copy_(saved)\n",
        "            pass\n",
        RESUME,
    ),
    Mutation(
        "a damaged checkpoint is taken",
        "connection/disk/checkpoints.py",
        'if digests[name].sha256 != listed[name].get("sha256"):',
        "if False:",
        RESUME,
    ),
    Mutation("metrics not cut back", "connection/run/folder.py", ' and record["step"] <= step:', ":", RESUME),
    Mutation(
        "no sync before the rename",
        "connection/disk/durable.py",
        "        _sync(file, path)\n    return Digest",
        "    return Digest",
        ("tests/disk/test_durable.py",),
    ),
    Mutation(
        "another default sets a finished run aside",
        "connection/run/description.py",
        " or (name not in BY_EFFECT and _is_default_in_both(name, before, now)):\n            continue\n        old, new",
        ":\n            continue\n        old, new",
        STARTS,
    ),
    Mutation(
        "a constant that is new makes another run",
        "connection/run/description.py",
        'return ABSENT.get(name, now["defaults"].get(name))',
        "return None",
        STARTS,
    ),
    Mutation(
        "an unfinished run takes the defaults of today",
        SCRIPT,
        "    adopt_unfinished(settings, TRAINING_DEFAULTS)\n",
        "",
        STARTS,
    ),
    Mutation(
        "checkpoints of an older version are refused",
        "connection/run/start.py",
        "Checkpoints(folder, fingerprints(begun))",
        "Checkpoints(folder, fingerprints(description))",
        STARTS,
    ),
]
